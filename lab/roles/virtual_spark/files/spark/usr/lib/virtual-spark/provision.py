# SIMULATED: what the factory and the first-boot assistant do to a DGX Spark, at the start of every virtual one.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a machine of a container, then hand over to the power button (``init``).

At every start: /etc/hosts, /etc/hostname and /etc/resolv.conf become files of the machine's own, not Docker's
mounts, so that they can be replaced atomically. At the first one: netplan's files, ssh host keys, the owner's
key, the GPU, and trust in the authorities that were added to the machine below (behind a proxy that opens TLS,
apt and pip work in a Spark as they do there).
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

DONE = Path("/var/lib/virtual-spark/provisioned")
AUTHORITIES = Path("/usr/local/share/ca-certificates/machine")  # the machine's own, mounted
MANAGEMENT = "enP7s7"  # the RJ-45 of a Spark; Docker calls it eth0 until init renames it


def hosts_file(hostname: str) -> str:
    """/etc/hosts as Ubuntu's installer leaves it."""
    return (
        f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n\n"
        "::1 ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
    )


def netplan_files(renderer: str, addresses: list[dict[str, Any]], routes: list[dict[str, Any]]) -> dict[str, str]:
    """Netplan's files by name: the renderer as DGX OS has it, and the management address that Docker gave.

    :param addresses: ``ip -j -4 addr show`` of the management NIC; ``routes``: ``ip -j -4 route show default``.
    """
    cidrs = [f"{info['local']}/{info['prefixlen']}" for link in addresses for info in link["addr_info"]]
    management = {
        "addresses": cidrs,
        "routes": [{"to": "default", "via": route["gateway"]} for route in routes],
    }
    # JSON is YAML: no library needed.
    network = {"network": {"version": 2, "ethernets": {MANAGEMENT: management}}}
    return {
        "01-network-manager-all.yaml": f"network:\n  version: 2\n  renderer: {renderer}\n",
        "50-management.yaml": "# SIMULATED: a DGX Spark has DHCP here.\n" + json.dumps(network, indent=2) + "\n",
    }


def own_files() -> None:
    """Replace Docker's mounts over three files of /etc by files with the same content."""
    for path in (Path("/etc/hosts"), Path("/etc/hostname"), Path("/etc/resolv.conf")):
        content = path.read_bytes()
        if os.path.ismount(path):
            subprocess.run(["umount", path], check=True)
        if not DONE.exists():
            path.write_bytes(content)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", "-4", *words], capture_output=True, check=True)
    return json.loads(done.stdout or "[]")


def first_start(environment: dict[str, str]) -> None:
    write(Path("/etc/hosts"), hosts_file(os.uname().nodename))
    renderer = environment.get("VIRTUAL_SPARK_RENDERER", "NetworkManager")
    files = netplan_files(renderer, ip("addr", "show", "eth0"), ip("route", "show", "default"))
    for name, text in files.items():
        write(Path("/etc/netplan") / name, text, 0o600)
    if renderer == "networkd":
        link = Path("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service")
        link.unlink(missing_ok=True)
        link.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    # systemd calls no start of a container the first boot, which sshd-keygen.service waits for.
    subprocess.run(["ssh-keygen", "-A"], check=True, stdout=subprocess.DEVNULL)
    if key := environment.get("VIRTUAL_SPARK_AUTHORIZED_KEY"):
        owner = pwd.getpwnam("nvidia")
        keys = Path(owner.pw_dir) / ".ssh" / "authorized_keys"
        write(keys, key + "\n", 0o600)
        os.chown(keys, owner.pw_uid, owner.pw_gid)
    if uuid := environment.get("VIRTUAL_SPARK_GPU_UUID"):
        write(Path("/etc/virtual-spark/gpus"), uuid + "\n")
    if seconds := environment.get("VIRTUAL_SPARK_HOTPLUG"):
        write(Path("/etc/virtual-spark/hotplug"), seconds + "\n")
        write(Path("/etc/nvidia/cx7-hotplug-enabled"), "")
    if any(AUTHORITIES.rglob("*.crt")):
        subprocess.run(["update-ca-certificates"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    write(DONE, "")


def main() -> None:
    own_files()
    if not DONE.exists():
        first_start(dict(os.environ))
    # From here on the address is the renderer's to give, as on a machine that has just been switched on.
    subprocess.run(["ip", "-4", "addr", "flush", "dev", "eth0"], check=True)
    # systemd hands its environment to nobody, but what is not there cannot leak.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRTUAL_SPARK_")}
    os.execve("/usr/lib/virtual-spark/init", ["init", *sys.argv[1:]], kept)


if __name__ == "__main__":
    main()
