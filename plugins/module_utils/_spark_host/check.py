# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check on a host that each part of the role spark_host is in effect, and not only written.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import re
import socket
import time
from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import sshd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.host import (
    Run,
    logind_removes_ipc,
    ssh_server,
    units,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.layout import BY_NAME

#: of a network that is for documentation alone, so that nobody is banned by the trial
TRIAL = "192.0.2.254"  # RFC 5737
BAN_SECONDS = 10


class CheckError(ValueError):
    """A part is not in effect; the message says what was seen, and the mend."""


def checks(run: Run, planned: Mapping[str, Any], user: str, try_ban: bool) -> dict[str, str]:
    """Return by part, in words, what was seen.

    :param planned: what the plan has of this host. :param try_ban: whether an address is banned for a moment.
    :raises CheckError: for all that is not in effect.
    """
    seen, problems = {}, []
    for name, check in parts(run, planned, user, try_ban):
        try:
            seen[name] = check()
        except CheckError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise CheckError("; ".join(problems))
    return seen


def version(run: Run, program: str) -> str:
    """What a program says of its version."""
    return run([program, "-V"])[1].strip()


def parts(run: Run, planned: Mapping[str, Any], user: str, try_ban: bool) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks of what is planned."""
    state = units(run)
    if planned["name"]:
        yield "name", lambda: own_name(planned["name"])
    if planned["names"]:
        yield "hosts", lambda: other_names(planned["names"])
    if planned["sshd"]:
        yield "sshd", lambda: logins(run, planned["sshd"], user)
    every: dict[str, Callable[[], str]] = {
        "tmux": lambda: version(run, "tmux"),
        "chrony": lambda: clock(run, state),
        "fail2ban": lambda: bans(run, state, planned["banaction"], try_ban),
        "earlyoom": lambda: earlyoom(run, state, planned["earlyoom_arguments"]),
        "journal": lambda: journal(run, state, planned["journal_max_gb"]),
        "ipc": lambda: shared_memory(run),
        "gpu_clock": lambda: gpu_clock(run, state, planned["gpu_clock_mhz"]),
        "upgrades": lambda: upgrades(run, planned["held"]),
    }
    for name in planned["parts"]:
        yield name, every[name]


def active(state: Mapping[str, Mapping[str, Any]], part: str) -> str:
    """Return a unit's name where it is active, or was barred by a condition of its own. :raises CheckError:"""
    unit = BY_NAME[part].unit
    told = state.get(unit, {})
    if told.get("active") != "active" and not told.get("barred"):
        raise CheckError(f"{unit} is {told.get('active') or 'unknown'}: see journalctl -u {unit}")
    return unit


def own_name(name: str) -> str:
    """The host's name, now and at the next boot."""
    now = os.uname().nodename
    if now != name:
        raise CheckError(f"the host is called {now}, not {name}: see hostnamectl")
    return name


def other_names(names: Mapping[str, str]) -> str:
    """Each name leads to its management address, whatever else answers for names."""
    for name, address in names.items():
        try:
            told = {str(one[4][0]) for one in socket.getaddrinfo(name, None)}
        except OSError as error:
            raise CheckError(f"{name} has no address: {error}") from None
        if address not in told:
            raise CheckError(f"{name} leads to {', '.join(sorted(told))}, not to {address}: see getent ahosts {name}")
    return ", ".join(f"{name} is {address}" for name, address in names.items())


def logins(run: Run, wanted: Mapping[str, str], user: str) -> str:
    """What the ssh server goes by for the user of this play."""
    server = ssh_server(run, user)
    if server["problem"]:
        raise CheckError(str(server["problem"]))
    unlike = sshd.differing(server["effective"], wanted)
    if unlike:
        raise CheckError(f"the ssh server does not go by it: {', '.join(unlike)}: see sshd -T")
    return f"keys alone; {user} has {server['keys']}"


def clock(run: Run, state: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether chrony keeps the clock. That it has reached a server is told, and not required: that takes minutes."""
    unit = active(state, "chrony")
    if state[unit]["barred"]:
        return "installed; this host may not set its clock (a container), so that chrony does not start"
    code, said = run(["chronyc", "-c", "tracking"])
    if code:
        raise CheckError(f"chronyd does not answer: {said.strip()[-200:]}")
    fields = said.strip().split(",")
    reached = len(fields) > 12 and fields[-1] != "Not synchronised"
    return f"synchronised to {fields[1]}" if reached else "running, and not synchronised yet"


def bans(run: Run, state: Mapping[str, Mapping[str, Any]], banaction: str, try_ban: bool) -> str:
    """Whether the jail of ssh is there and, on trial, whether a ban comes about in the firewall, and ends."""
    active(state, "fail2ban")
    client = "fail2ban-client"
    wait_for(lambda: run([client, "get", "sshd", "actions"])[0] == 0, BAN_SECONDS)  # it may be starting
    code, said = run([client, "get", "sshd", "actions"])
    if code:
        raise CheckError(f"fail2ban has no jail sshd: {said.strip()[-200:]}")
    if banaction not in said:
        raise CheckError(f"fail2ban bans by {said.split()[-1]}, not by {banaction}: another file in jail.d prevails")
    if not try_ban:
        return f"the jail of ssh is on, by {banaction}"
    run([client, "set", "sshd", "banip", TRIAL])
    try:
        came = wait_for(lambda: TRIAL in firewall(run, banaction))
    finally:
        run([client, "set", "sshd", "unbanip", TRIAL])
    if not came:
        raise CheckError(
            f"a ban by {banaction} does not come about in the firewall, although fail2ban lists it: see "
            "/var/log/fail2ban.log"
        )
    if not wait_for(lambda: TRIAL not in firewall(run, banaction)):
        raise CheckError(f"a ban by {banaction} does not end: fail2ban-client unban {TRIAL}")
    return f"the jail of ssh is on; a ban by {banaction} came about, and ended"


def firewall(run: Run, banaction: str) -> str:
    """All rules of the firewall that a ban goes to."""
    return run(["nft", "list", "ruleset"] if banaction == "nftables" else ["iptables", "-S"])[1]


def wait_for(is_so: Callable[[], bool], seconds: float = BAN_SECONDS) -> bool:
    """Whether something comes about within some seconds."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


def earlyoom(run: Run, state: Mapping[str, Mapping[str, Any]], arguments: str) -> str:
    """Whether it runs with the arguments of the file."""
    unit = active(state, "earlyoom")
    pid = run(["systemctl", "show", "--property=MainPID", "--value", unit])[1].strip()
    told = run(["ps", "-o", "args=", "-p", pid])[1].strip()
    if arguments not in told:
        raise CheckError(f"it runs as {told!r}, without {arguments!r}: see systemctl cat {unit}")
    return arguments.split(" -r")[0]


def journal(run: Run, state: Mapping[str, Mapping[str, Any]], gigabytes: int) -> str:
    """Whether the limit is the last that journald reads."""
    active(state, "journal")
    said = run(["systemd-analyze", "cat-config", "systemd/journald.conf"])[1]
    limits = re.findall(r"^SystemMaxUse=(\S+)", said, re.MULTILINE)
    if limits[-1:] != [f"{gigabytes}G"]:
        raise CheckError(f"journald goes by SystemMaxUse={''.join(limits[-1:])}: another file prevails")
    return f"at most {gigabytes} GB"


def shared_memory(run: Run) -> str:
    """Whether logind leaves shared memory alone."""
    if logind_removes_ipc(run) is not False:
        raise CheckError("logind removes shared memory when a user's last session ends: see busctl get-property")
    return "shared memory stays when a user logs out"


def gpu_clock(run: Run, state: Mapping[str, Mapping[str, Any]], mhz: int) -> str:
    """Whether the cap was set, and the GPU keeps to it at this moment."""
    active(state, "gpu_clock")
    said = run(["nvidia-smi", "--query-gpu=clocks.current.graphics", "--format=csv,noheader"])[1]
    above = [int(one) for one in re.findall(r"^([0-9]+) MHz", said, re.MULTILINE) if int(one) > mhz]
    if above:
        raise CheckError(f"the GPU runs at {above[0]} MHz, and the cap is {mhz}: see nvidia-smi -q -d CLOCK")
    return f"at most {mhz} MHz"


def upgrades(run: Run, held: Sequence[str]) -> str:
    """Whether apt's configuration holds them."""
    said = run(["apt-config", "dump", "Unattended-Upgrade::Package-Blacklist"])[1]
    lost = [pattern for pattern in held if f'"{pattern}"' not in said]
    if lost:
        raise CheckError(f"apt's configuration does not hold {', '.join(lost)}: another file clears the list")
    return f"{len(held)} kinds of packages are held back"
