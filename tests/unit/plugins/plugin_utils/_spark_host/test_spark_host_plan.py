# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role spark_host would change: each part where it is due, none once it is made, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import layout, sshd
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._spark_host import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._spark_host.plan import (
    Member,
    SparkHostError,
    Wanted,
)

START = 1_800_000_000.0
HOSTS = "127.0.0.1 localhost\n127.0.1.1 spark-1b3b\n"
ALL = Wanted(
    name="spark1",
    hosts=True,
    chrony=True,
    chrony_servers=["ntp.example.com"],
    sshd=True,
    fail2ban=True,
    fail2ban_ignore=["198.51.100.0/24"],
    tmux=True,
    journal_max_gb=2,
    earlyoom=True,
    keep_ipc=True,
    gpu_clock_mhz=2000,
    hold_upgrades=True,
)


def stock(name: str = "spark-1b3b") -> dict[str, Any]:
    """A Spark as it comes, reached by a key."""
    units = {part.unit: {"active": "inactive", "barred": False, "started": 0.0} for part in layout.PARTS if part.unit}
    units["systemd-journald.service"] = {"active": "active", "barred": False, "started": START}
    return {
        "hostname": name,
        "files": {"/etc/hosts": {"content": HOSTS.replace("spark-1b3b", name), "mtime": START}},
        "kept": [],
        "packages": {},
        "unavailable": [],
        "removes": [],
        "recorded": {},
        "units": units,
        "remove_ipc": True,
        "sshd": {
            "problem": "",
            "user": "nvidia",
            "keys": 1,
            "includes": True,
            "effective": {**sshd.settings("key"), "passwordauthentication": "yes"},
        },
        "tools": ["iptables"],
        "memory_bytes": 128 << 30,
        "gpu_max_mhz": 3003,
        "containers": [],
        "management": "192.168.1.21",
    }


def member(wanted: Wanted = ALL, found: dict[str, Any] | None = None, name: str = "spark1") -> Member:
    return Member(name, wanted, found or stock(), "192.168.1.21" if name == "spark1" else "192.168.1.22")


def names(*members: Member) -> list[str]:
    """The names of the changes on the first member."""
    return [one["name"] for one in planning.plan(members)["changes"][members[0].inventory_name]]


def made(one: Member, *others: Member) -> Member:
    """The member once its plan was applied."""
    own = planning.plan([one, *others])["hosts"][one.inventory_name]
    found = copy.deepcopy(dict(one.found))
    for file in own["files"]:
        found["files"][file["path"]] = {"content": file["content"], "mtime": START + 60}
    for path in own["surplus"]:
        found["files"].pop(path)
    for record in own["packages"]:
        found["packages"].update(dict.fromkeys(record["packages"], "1"))
        found["recorded"][record["role"]] = list(record["packages"])
    for gone in own["surplus_records"]:
        for package in found["recorded"].pop(gone):
            found["packages"].pop(package, None)
    for part in one.wanted.parts:
        if part.unit:
            found["units"][part.unit] = {"active": "active", "barred": False, "started": START + 61}
    hosts = planning._hosts_of(one, [one, *others])
    found["files"]["/etc/hosts"] = {"content": hosts, "mtime": START}
    found["hostname"] = one.name
    found["remove_ipc"] = not one.wanted.keep_ipc
    if own["sshd"]:
        found["files"][layout.SSHD] = {"content": own["sshd_drop_in"], "mtime": START}
        found["sshd"]["effective"] = own["sshd"]
    elif layout.SSHD in found["files"]:
        found["files"].pop(layout.SSHD)
    found["kept"] = list(found["files"])
    return dataclasses.replace(one, found=found)


def test_nothing_is_asked_for_and_nothing_changes() -> None:
    assert planning.plan([member(Wanted())])["changes"] == {"spark1": []}


def test_all_parts_are_planned_in_order_and_none_once_they_are_made() -> None:
    other = member(dataclasses.replace(ALL, name="spark2"), stock("spark-2c4d"), "spark2")
    one = member()
    assert names(one, other) == [
        planning.INSTALL,
        planning.WRITE,
        planning.RELOAD,
        planning.NAME,
        planning.LOGINS,
    ]
    assert names(made(one, other), made(other, one)) == []


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(tmux=True),
        Wanted(chrony=True),
        Wanted(fail2ban=True),
        Wanted(journal_max_gb=1),
        Wanted(earlyoom=True),
        Wanted(keep_ipc=True),
        Wanted(gpu_clock_mhz=1500),
        Wanted(hold_upgrades=True),
        Wanted(sshd=True),
        Wanted(hosts=True),
    ],
    ids=lambda one: ",".join(str(name) for name, value in vars(one).items() if value != vars(Wanted())[name]),
)
def test_each_part_alone_is_made_once_and_goes_with_its_variable(wanted: Wanted) -> None:
    other = member(Wanted(), stock("spark2"), "spark2")
    one = made(member(wanted), other)
    assert names(member(wanted), other) != []
    assert names(one, other) == []
    off = dataclasses.replace(one, wanted=Wanted())
    assert names(off, other) != []
    left = names(made(off, other), other)
    assert left == []


def test_a_daemon_that_stopped_is_started_again() -> None:
    one = made(member())
    one.found["units"]["earlyoom.service"]["active"] = "failed"
    assert names(one) == [planning.RELOAD]
    assert planning.plan([one])["hosts"]["spark1"]["reload"] == [["systemctl", "restart", "earlyoom.service"]]


def test_a_clock_that_may_not_be_set_starts_nothing_again() -> None:
    one = made(member(Wanted(chrony=True)))
    one.found["units"]["chrony.service"] = {"active": "inactive", "barred": True, "started": 0.0}
    assert names(one) == []


def test_a_program_that_started_before_its_file_was_written_follows() -> None:
    one = made(member(Wanted(journal_max_gb=2)))
    one.found["units"]["systemd-journald.service"]["started"] = START
    assert names(one) == [planning.RELOAD]


@pytest.mark.parametrize(
    ("tools", "action", "more"),
    [
        (["iptables"], "iptables-multiport", []),
        (["nft", "iptables"], "nftables", []),
        (["nft"], "nftables", []),
        ([], "nftables", ["nftables"]),
    ],
)
def test_fail2ban_bans_by_what_the_host_has(tools: list[str], action: str, more: list[str]) -> None:
    one = member(Wanted(fail2ban=True), {**stock(), "tools": tools})
    own = planning.plan([one])["hosts"]["spark1"]
    jail = next(file["content"] for file in own["files"] if file["path"] == layout.JAIL)
    assert f"banaction = {action}\n" in jail
    assert own["packages"][0]["packages"] == ["fail2ban", "python3-systemd", *more]


def test_no_spark_is_ever_banned() -> None:
    other = member(Wanted(), stock("spark2"), "spark2")
    own = planning.plan([member(Wanted(fail2ban=True)), other])["hosts"]["spark1"]
    assert "ignoreip = 127.0.0.0/8 ::1 192.168.1.21 192.168.1.22\n" in own["files"][0]["content"]


def test_earlyoom_keeps_the_other_lines_of_its_file() -> None:
    text = '# mine\nEARLYOOM_ARGS="-r 60"\nOTHER=1\n'
    once = planning.earlyoom_file(text, 4096)
    assert once.splitlines()[::2] == ["# mine", "OTHER=1"]
    assert "-M 4194304,2097152 -s 100 " in once
    assert planning.earlyoom_file(once, 4096) == once


def test_the_unit_of_the_clock_hands_its_dollars_to_the_shell() -> None:
    """systemd would put its own variables into a single dollar."""
    line = next(line for line in planning.clock_unit().splitlines() if line.startswith("ExecStart="))
    assert "$$(nvidia-smi -lgc 0,$$GPU_CLOCK_MHZ)" in line
    assert line.count("$") % 2 == 0


def changed(**more: Any) -> dict[str, Any]:
    return {**stock(), **more}


def server(**more: Any) -> dict[str, Any]:
    return {**stock(), "sshd": {**stock()["sshd"], **more}}


@pytest.mark.parametrize(
    ("wanted", "found", "says"),
    [
        (Wanted(name="Spark_1"), stock(), "letters a-z, digits and hyphens"),
        (Wanted(name="spark1.lan"), stock(), "without a domain"),
        (Wanted(fail2ban=True, fail2ban_ignore=["spark2"]), stock(), "spark_host_fail2ban_ignore has 'spark2'"),
        (Wanted(chrony=True, chrony_servers=["a b"]), stock(), "spark_host_chrony_servers has 'a b'"),
        (Wanted(journal_max_gb=-1), stock(), "spark_host_journal_max_gb is -1"),
        (Wanted(earlyoom=True, earlyoom_mib=8192), stock(), "less than 8192 MiB"),
        (Wanted(earlyoom=True), changed(memory_bytes=4 << 30), "the host has 4096 MiB"),
        (Wanted(gpu_clock_mhz=100), stock(), "give 300 to 3003"),
        (Wanted(gpu_clock_mhz=4000), stock(), "give 300 to 3003"),
        (Wanted(tmux=True), changed(unavailable=["tmux"]), "no package source has tmux"),
        (Wanted(chrony=True), changed(removes=["ntpsec"]), "apt would remove ntpsec"),
        (Wanted(sshd=True), server(keys=0), "nvidia has no authorized key"),
        (Wanted(sshd=True), server(includes=False), "put that Include on top"),
        (Wanted(sshd=True), server(problem="it has no ssh server"), "it has no ssh server"),
        (Wanted(sshd=True, sshd_local=True), stock(), "no new login over ssh can show"),
        (Wanted(sshd=True, sshd_root="no"), server(user="root"), "logs in as root"),
        (Wanted(sshd=True, sshd_root="maybe"), stock(), "give key or no"),
        (Wanted(sshd=True), server(effective={"permitrootlogin": "no"}), "PermitRootLogin no"),
    ],
)
def test_what_cannot_be_is_refused(wanted: Wanted, found: dict[str, Any], says: str) -> None:
    with pytest.raises(SparkHostError, match=r"^spark1: ") as failure:
        planning.plan([member(wanted, found)])
    assert says in str(failure.value)
    assert str(failure.value).endswith("Nothing was changed.")


def test_systemd_timesyncd_alone_may_make_room() -> None:
    one = member(Wanted(chrony=True), changed(removes=["systemd-timesyncd"]))
    first = planning.plan([one])["changes"]["spark1"][0]
    assert first["diff"]["before"] == "systemd-timesyncd\n"


def test_a_name_on_the_fabric_is_refused_with_its_line() -> None:
    found = stock()
    found["files"]["/etc/hosts"]["content"] += "192.168.100.2 spark2\n"
    other = member(Wanted(), stock("spark2"), "spark2")
    with pytest.raises(SparkHostError, match=r"line 3 of /etc/hosts gives spark2 the address 192\.168\.100\.2"):
        planning.plan([member(Wanted(hosts=True), found), other])


def test_a_host_without_an_address_is_refused() -> None:
    lost = Member("spark2", Wanted(), stock("spark2"), "")
    with pytest.raises(SparkHostError, match="spark2 has no management address"):
        planning.plan([member(Wanted(hosts=True)), lost])


def test_two_hosts_of_one_name_are_refused() -> None:
    with pytest.raises(SparkHostError, match="the name of two Sparks"):
        planning.plan([member(Wanted(name="a")), member(Wanted(name="a"), name="spark2")])
    with pytest.raises(SparkHostError, match="the name of two Sparks"):
        planning.plan([member(Wanted(hosts=True)), member(Wanted(hosts=True), name="spark2")])


def test_root_may_log_in_by_a_key_again_where_the_role_itself_forbade_it() -> None:
    found = {**server(effective={**sshd.settings("no")}), "kept": [layout.SSHD]}
    found["files"][layout.SSHD] = {"content": sshd.drop_in("no"), "mtime": START}
    assert names(member(Wanted(sshd=True), found)) == [planning.LOGINS]


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        (Wanted(chrony=True), True),
        (Wanted(name="spark1"), True),
        (Wanted(tmux=True), False),
        (Wanted(sshd=True), False),
    ],
)
def test_running_containers_lose_neither_gpu_nor_name(wanted: Wanted, refused: bool) -> None:
    one = member(wanted, changed(containers=["dgx-spark-trtllm (image)"]))
    if refused:
        with pytest.raises(SparkHostError, match="dgx-spark-trtllm"):
            planning.plan([one])
    else:
        assert names(one)
    assert names(dataclasses.replace(one, wanted=dataclasses.replace(wanted, allow_restart=True)))


def test_running_containers_do_not_keep_a_daemon_that_goes() -> None:
    one = made(member(Wanted(earlyoom=True)))
    busy = dataclasses.replace(one, wanted=Wanted(), found={**one.found, "containers": ["a"]})
    with pytest.raises(SparkHostError):
        planning.plan([busy])


def test_a_part_without_a_daemon_goes_beside_one_that_stays() -> None:
    one = made(member(Wanted(earlyoom=True, journal_max_gb=2)))
    busy = dataclasses.replace(one, wanted=Wanted(earlyoom=True), found={**one.found, "containers": ["a"]})
    assert names(busy)[0] == planning.RESTORE


@pytest.mark.parametrize(
    ("reach", "management", "address"),
    [
        ("192.168.1.5", "10.0.0.1", "192.168.1.5"),
        ("spark1.local", "10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("spark1", None, ""),
    ],
)
def test_the_management_address_is_that_of_the_inventory(reach: str, management: str | None, address: str) -> None:
    assert planning.address_of(reach, management) == address
