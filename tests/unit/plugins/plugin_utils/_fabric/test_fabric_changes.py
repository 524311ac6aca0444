# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of changes: empty over a host that is as planned, and exactly what differs over any other."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible.modules import blockinfile
from ansible_collections.sparkops.dgx_spark.plugins.action.fabric_plan import ActionModule, _local, make_plan
from ansible_collections.sparkops.dgx_spark.plugins.action.fabric_report import report
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import spread
from ansible_collections.sparkops.dgx_spark.plugins.modules import ufw_rules
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric import changes
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.cabling import FabricError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from hypothesis import given
from hypothesis import strategies as st

TASKS = Path(__file__).parents[5] / "roles" / "cx7_network" / "tasks"
NETPLAN, SYSCTL, HOSTS = "/etc/netplan/40-cx7.yaml", "/etc/sysctl.d/90-dgx-spark-fabric.conf", "/etc/hosts"
NETDEVS = {(0, "A"): "enp1s0f0np0", (0, "B"): "enP2p1s0f0np0", (1, "A"): "enp1s0f1np1", (1, "B"): "enP2p1s0f1np1"}
A0, B0 = NETDEVS[0, "A"], NETDEVS[0, "B"]
FIRST = "127.0.0.1 localhost\n"
BLANK = [
    changes.PROGRAM,
    changes.SYSCTL,
    changes.NETPLAN,
    changes.ACTIVATE,
    changes.HOSTS,
    changes.FIREWALL,
    changes.PACKAGE,
    changes.BANDWIDTH,
]
Found = dict[str, Any]


def blank(rank: int, up: str = "0") -> Found:
    """What is read of a Spark that nothing was done to, whose cages ``up`` have a cable, and with ufw enabled."""
    address = f"192.168.1.{20 + rank}"
    return {
        "name": f"spark{rank}",
        "host": address,
        "addresses": [address],
        "management_address": address,
        "networks": [{"network": "192.168.1.0/24", "netdev": "enP7s7"}],
        "links": [
            {
                "netdev": netdev,
                "rdma_device": netdev.replace("en", "roce", 1).split("np")[0],
                "port": 1,
                "physical_port": cage,
                "half": half,
                "admin_up": True,
                "carrier": str(cage) in up,
                "mac": f"3c:6d:66:ad:{rank:02x}:{cage}{half.lower()}",
                "ipv4": [],
                "mtu": 1500,
            }
            for (cage, half), netdev in NETDEVS.items()
        ],
        "neighbors": None,
        "netplan_conflicts": [],
        "arp": {netdev: [0, 0] for netdev in NETDEVS.values()},
        "files": {NETPLAN: None, SYSCTL: None, HOSTS: {"content": FIRST, "mode": "0644", "uid": 0, "gid": 0}},
        "program": None,
        "rollback_pending": False,
        "firewall": {"installed": True, "enabled": True, "rules": [["allow 22/tcp", ""]]},
        "tools": [],
        "boot_id": f"boot{rank}",
        "ifindex": {netdev: rank + index for index, netdev in enumerate(NETDEVS.values())},
        "hotplug": {"marker": False, "enabled": None, "cable": None, "noted_boot": None, "containers": []},
        "bandwidth": None,
    }


def options(members: list[Found], **more: Any) -> dict[str, Any]:
    return {
        "names": [member["name"] for member in members],
        "members": members,
        "topology": "auto",
        "cables": [],
        "pool": ["192.168.100.0/22", "10.100.100.0/22"],
        "mtu": 0,
        "addressing": "static",
        "addresses": {},
        "netplan": NETPLAN,
        "sysctl": SYSCTL,
        "program": "digest",
        "firewall": "auto",
        "bandwidth_tool": "auto",
        "min_gbps": {"direct": 175, "ring": 80, "switch": 175},
        "changing": False,
        "hotplug": "leave",
        "allow_restart": False,
        "local": [],
        **more,
    }


def planned(members: list[Found], **more: Any) -> dict[str, Any]:
    return make_plan(options(members, **more))


def names(plan: dict[str, Any]) -> dict[str, list[str]]:
    return {host: [change["name"] for change in own] for host, own in plan["changes"].items()}


def converge(members: list[Found], plan: dict[str, Any]) -> list[Found]:
    """Return what would be read of the hosts once all changes of the plan are made."""
    done = copy.deepcopy(members)
    for member in done:
        host = plan["hosts"][member["name"]]
        for path, mode in ((NETPLAN, "0600"), (SYSCTL, "0644")):
            member["files"][path] = {"content": host["files"][path], "mode": mode, "uid": 0, "gid": 0}
        member["files"][HOSTS]["content"] = changes.set_block(FIRST, host["names"])
        for link in member["links"]:
            wanted = host["netdevs"][link["netdev"]]
            if wanted["cabled"]:
                link.update(ipv4=wanted["addresses"], mtu=wanted["mtu"] or link["mtu"])
                member["arp"][link["netdev"]] = [1, 2]
        rules = [text for rule in host["firewall"] for text in spread(rule)]
        member["firewall"]["rules"] = [[rule, changes.COMMENT] for rule in rules] + [["allow 22/tcp", ""]]
        member.update(program="digest", tools=["ib_write_bw"])
        peers = [name for name in plan["hosts"] if name != member["name"]]
        member["bandwidth"] = {
            "key": plan["key"],
            "tool": plan["bandwidth_tool"],
            "measured": [{"peer": peer, "gbps": 190.0, "links": {A0: 95.0, B0: 95.0}, "errors": {}} for peer in peers],
        }
    return done


def pair() -> list[Found]:
    """Two Sparks that are as planned."""
    members = [blank(1), blank(2)]
    return converge(members, planned(members))


# ---- the property


@given(
    shape=st.sampled_from([("0", 2), ("1", 2), ("01", 2), ("01", 3), ("0", 3), ("0", 5), ("01", 4)]),
    mtu=st.sampled_from([0, 4200]),
    firewall=st.sampled_from(["auto", "ufw", "none"]),
    tool=st.sampled_from(["auto", "iperf3"]),
)
def test_a_plan_over_an_already_planned_host_lists_nothing(
    shape: tuple[str, int], mtu: int, firewall: str, tool: str
) -> None:
    up, count = shape
    members = [blank(rank, up) for rank in range(1, count + 1)]
    asked = {"mtu": mtu, "firewall": firewall, "bandwidth_tool": tool}
    first = planned(members, **asked)
    wanted = [name for name in BLANK if name != changes.FIREWALL or firewall != "none"]
    assert names(first) == {member["name"]: wanted for member in members}
    again = planned(converge(members, first), **asked)
    assert names(again) == {member["name"]: [] for member in members}
    assert not any(host["changes_network"] for host in again["hosts"].values())


def link_of(member: Found, netdev: str) -> dict[str, Any]:
    return next(link for link in member["links"] if link["netdev"] == netdev)


ALONE: dict[str, tuple[Callable[[Found], object], list[str]]] = {
    "netplan file": (
        lambda one: one["files"][NETPLAN].update(content="# other\n"),
        [changes.NETPLAN, changes.ACTIVATE],
    ),
    "netplan file's mode": (
        lambda one: one["files"][NETPLAN].update(mode="0644"),
        [changes.NETPLAN, changes.ACTIVATE],
    ),
    "netplan file gone": (lambda one: one["files"].update({NETPLAN: None}), [changes.NETPLAN, changes.ACTIVATE]),
    "sysctl file": (lambda one: one["files"][SYSCTL].update(content=""), [changes.SYSCTL, changes.ACTIVATE]),
    "MTU": (lambda one: link_of(one, B0).update(mtu=1500), [changes.ACTIVATE]),
    "address": (lambda one: link_of(one, A0).update(ipv4=["10.0.0.1/24"]), [changes.ACTIVATE]),
    "ARP settings": (lambda one: one["arp"].update({A0: [0, 2]}), [changes.ACTIVATE]),
    "one half down": (lambda one: link_of(one, B0).update(admin_up=False, carrier=None), [changes.ACTIVATE]),
    "hosts file": (lambda one: one["files"][HOSTS].update(content=FIRST), [changes.HOSTS]),
    "hosts names": (
        lambda one: one["files"][HOSTS].update(content=changes.set_block(FIRST, ["10.0.0.1 spark1-fabric"])),
        [changes.HOSTS],
    ),
    "firewall rules": (lambda one: one["firewall"]["rules"].pop(0), [changes.FIREWALL]),
    "firewall order": (lambda one: one["firewall"]["rules"].insert(0, ["allow 80/tcp", ""]), [changes.FIREWALL]),
    "other hosts names": (lambda one: one["files"][HOSTS].update(content="x\n" + one["files"][HOSTS]["content"]), []),
    "other rules": (lambda one: one["firewall"]["rules"].append(["deny 80/tcp", ""]), []),
    "tool gone, but measured": (lambda one: one.update(tools=[]), []),
    "program, but nothing to roll back": (lambda one: one.update(program="older"), []),
    "file's group": (lambda one: one["files"][SYSCTL].update(gid=1), []),
}


@pytest.mark.parametrize("what", ALONE)
def test_each_changed_thing_lists_exactly_itself(what: str) -> None:
    members = pair()
    change, expected = ALONE[what]
    change(members[0])
    plan = planned(members)
    assert names(plan) == {"spark1": expected, "spark2": []}
    takes_part = changes.ACTIVATE in expected
    assert [host["changes_network"] for host in plan["hosts"].values()] == [takes_part, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(bandwidth=None),
        lambda one: one["bandwidth"].update(key="another plan"),
        lambda one: one["bandwidth"].update(tool="iperf3"),
        lambda one: one["bandwidth"]["measured"][0].update(gbps=20.0),
        lambda one: one.update(boot_id="started again"),
        lambda one: one["ifindex"].update({A0: 17}),
    ],
    ids=["never", "another plan", "another tool", "too slow", "started again", "hot-added"],
)
def test_the_bandwidth_is_measured_by_all_where_one_has_not(change: Callable[[Found], object]) -> None:
    members = pair()
    change(members[1])
    assert names(planned(members)) == {"spark1": [changes.BANDWIDTH], "spark2": [changes.BANDWIDTH]}
    members[0]["tools"] = ["iperf3"]
    assert names(planned(members))["spark1"] == [changes.PACKAGE, changes.BANDWIDTH]
    assert names(planned(members, min_gbps={"ring": 80})) == {"spark1": [], "spark2": []}


def test_a_netdev_that_is_not_planned_may_have_any_index() -> None:
    members = pair()
    members[0]["ifindex"][NETDEVS[1, "A"]] = 99
    assert names(planned(members)) == {"spark1": [], "spark2": []}


ON = {"marker": True, "enabled": True, "cable": True}
STALE = {"marker": False, "enabled": True, "cable": True}  # the marker is gone, and the host was not rebooted since
REBOOTED = [changes.REBOOT, changes.BANDWIDTH]


def hotplug_of(one: dict[str, Any], other: dict[str, Any], **more: Any) -> dict[str, list[str]]:
    members = pair()
    for member, state in zip(members, (one, other)):
        member["hotplug"].update(state)
    return names(planned(members, hotplug="off", **more))


def test_hot_plug_is_left_alone_unless_asked_for() -> None:
    members = pair()
    members[0]["hotplug"].update(ON)
    plan = planned(members)
    assert names(plan) == {"spark1": [], "spark2": []}
    assert plan["hotplug"] == ["spark1"]


def test_hot_plug_is_switched_off_on_all_members_together() -> None:
    both = [changes.HOTPLUG, *REBOOTED]
    assert hotplug_of(ON, ON) == {"spark1": both, "spark2": both}
    assert hotplug_of(ON, {}) == {"spark1": both, "spark2": REBOOTED}, "a peer's reboot takes the survivor's card"


def test_the_change_says_what_it_costs() -> None:
    members = pair()
    members[0]["hotplug"].update(ON)
    change = planned(members, hotplug="off")["changes"]["spark1"][0]
    assert (change["diff"]["before_header"], change["diff"]["before"]) == (changes.HOTPLUG_MARKER, "hot-plug on\n")
    assert "draws its power without a cable" in change["diff"]["after"]


@pytest.mark.parametrize("enabled", [False, None])
def test_no_reboot_where_hot_plug_is_off_already(enabled: bool | None) -> None:
    off = {"marker": False, "enabled": enabled}
    assert hotplug_of(off, off) == {"spark1": [], "spark2": []}


def test_a_reboot_that_is_still_due_is_made_and_none_twice() -> None:
    assert hotplug_of(STALE, {}) == {"spark1": REBOOTED, "spark2": REBOOTED}, "somebody moved the marker away"
    assert hotplug_of({**STALE, "noted_boot": "boot1"}, {}) == {"spark1": REBOOTED, "spark2": REBOOTED}, "interrupted"
    rebooted = {**STALE, "noted_boot": "an earlier boot"}
    assert hotplug_of(rebooted, {}) == {"spark1": [], "spark2": []}, "whatever the driver says, it had its reboot"
    members = pair()
    members[0]["hotplug"].update(rebooted)
    assert planned(members)["hotplug"] == []
    assert hotplug_of({**ON, "noted_boot": "an earlier boot"}, {})["spark1"] == [changes.HOTPLUG, *REBOOTED]


def test_a_reboot_needs_consent_to_end_containers() -> None:
    running = {**ON, "containers": ["web (nginx)", "db (postgres)"]}
    with pytest.raises(FabricError) as refused:
        hotplug_of(running, ON)
    assert "would end the running containers of spark1 web (nginx), db (postgres)" in str(refused.value)
    assert "cx7_network_allow_restart: true" in str(refused.value)
    assert changes.REBOOT in hotplug_of(running, ON, allow_restart=True)["spark1"]


def test_ansible_does_not_reboot_the_host_that_it_runs_on() -> None:
    with pytest.raises(FabricError) as refused:
        hotplug_of(ON, ON, local=["spark2"])
    assert "Ansible itself runs on spark2: run the play from another machine" in str(refused.value)
    assert hotplug_of({}, {}, local=["spark2"]) == {"spark1": [], "spark2": []}
    assert _local(["spark1", "spark2"], {"spark1": {"ansible_connection": "local"}, "spark2": {}}) == ["spark1"]


def test_a_change_needs_the_program_of_this_version() -> None:
    members = pair()
    members[0]["program"] = "older"
    members[0]["arp"][A0] = [0, 0]
    assert names(planned(members)) == {"spark1": [changes.PROGRAM, changes.ACTIVATE], "spark2": []}


def test_links_without_rdma_are_measured_by_tcp() -> None:
    members = [blank(1), blank(2)]
    assert planned(members)["bandwidth_tool"] == "ib_write_bw"
    members[0]["links"][0]["rdma_device"] = ""
    assert planned(members)["bandwidth_tool"] == "iperf3"
    assert planned(members, bandwidth_tool="ib_write_bw")["bandwidth_tool"] == "ib_write_bw"


def test_one_host_alone_changes_nothing() -> None:
    plan = planned([blank(1, up="")])
    assert (plan["topology"], plan["changes"]) == ("single", {"spark1": []})
    assert plan["hosts"]["spark1"]["control_on_fabric"] is False


def test_raised_ports_are_planned_again_by_all() -> None:
    members = pair()
    for link in members[0]["links"]:
        link.update(admin_up=False, carrier=None)
    plan = planned(members)
    assert names(plan) == {"spark1": [changes.RAISE, changes.ACTIVATE], "spark2": []}
    assert [host["changes_network"] for host in plan["hosts"].values()] == [True, True]
    assert plan["changes"]["spark1"][0]["diff"]["after"].splitlines()[0] == f"{A0}: up"


@pytest.mark.parametrize("addressing", ["link_local", "dhcp"])
def test_addresses_that_are_not_known_yet(addressing: str) -> None:
    members = [blank(1), blank(2)]
    first = planned(members, addressing=addressing)
    assert names(first) == {"spark1": BLANK, "spark2": BLANK}
    firewall = next(change for change in first["changes"]["spark1"] if change["name"] == changes.FIREWALL)
    assert "diff" not in firewall, "the rules are not known yet"
    for rank, member in enumerate(members):
        for net, link in enumerate(member["links"][: 1 if addressing == "link_local" else 2]):
            link["ipv4"] = [f"169.254.3.{rank}/16" if addressing == "link_local" else f"10.9.{net}.{rank}/24"]
    known = planned(members, addressing=addressing)
    members = converge(members, known)
    for member in members:  # what converge took for planned addresses is what the links got
        host = known["hosts"][member["name"]]
        for link in member["links"]:
            link["ipv4"] = [one["address"] for one in host["links"] if one["netdev"] == link["netdev"]]
    again = planned(members, addressing=addressing)
    assert names(again) == {"spark1": [], "spark2": []}
    closed = again["hosts"]["spark1"]["firewall"][-1]["to_ip"]
    assert closed == (["169.254.3.0"] if addressing == "link_local" else ["10.9.0.0/24", "10.9.1.0/24"])
    members[0]["arp"][A0] = [0, 0]
    changed = planned(members, addressing=addressing)
    assert names(changed) == {"spark1": [changes.ACTIVATE], "spark2": []}
    assert [host["changes_network"] for host in changed["hosts"].values()] == [True, True], "all are planned again"


# ---- diffs and contents


def test_diffs_show_what_changes() -> None:
    plan = planned([blank(1), blank(2)])
    diffs = {change["name"]: change.get("diff") for change in plan["changes"]["spark2"]}
    assert diffs[changes.NETPLAN]["before"] == ""
    assert diffs[changes.NETPLAN]["before_header"] == NETPLAN
    assert "192.168.100.11/24" in diffs[changes.NETPLAN]["after"]
    assert diffs[changes.HOSTS]["after"] == (
        f"{FIRST}# BEGIN fabric of DGX Sparks (Ansible, sparkops.dgx_spark.cx7_network)\n"
        "192.168.100.10 spark1-fabric\n192.168.100.11 spark2-fabric\n"
        "# END fabric of DGX Sparks (Ansible, sparkops.dgx_spark.cx7_network)\n"
    )
    assert diffs[changes.FIREWALL] == {
        "before": "",
        "after": f"allow in on {A0} from 192.168.100.0/24\nallow in on {B0} from 192.168.101.0/24\n"
        "deny to 192.168.100.0/24\ndeny to 192.168.101.0/24\n",
    }
    assert diffs[changes.ACTIVATE]["before"].splitlines()[0] == f"{A0}: up, MTU 1500, no address, ARP settings 0 0"
    assert diffs[changes.ACTIVATE]["after"].splitlines() == [
        f"{A0}: up, MTU 9000, 192.168.100.11/24, ARP settings 1 2",
        f"{B0}: up, MTU 9000, 192.168.101.11/24, ARP settings 1 2",
    ]
    assert diffs[changes.SYSCTL]["after"].splitlines()[1:] == [
        f"net.ipv4.conf.{netdev}.{setting}" for netdev in (B0, A0) for setting in ("arp_ignore = 1", "arp_announce = 2")
    ]
    assert plan["hosts"]["spark2"]["rdma_devices"] == ["rocep1s0f0", "roceP2p1s0f0"]
    assert plan["hosts"]["spark2"]["control_on_fabric"] is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1 localhost\n",
        "127.0.0.1 localhost",
        "\n\n",
        "a\n# BEGIN x\nold\n# END x\nb\n",
        "a\n# BEGIN x\nold\n# END x\nb",
        "a\n# BEGIN x\nnew\nlines\n# END x\nb",
        "# BEGIN x\nno end\n",
        "a\n# BEGIN x\nold\n# END x",
    ],
)
def test_the_block_is_set_as_blockinfile_sets_it(text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    asked = {"path": str(path), "marker": "# {mark} x", "block": "new\nlines"}
    with patch_module_args(asked), pytest.raises(SystemExit):
        blockinfile.main()
    assert changes.set_block(text, ["new", "lines"], "# {mark} x") == path.read_text()


def test_the_rules_are_taken_by_the_module_that_writes_them(capsys: pytest.CaptureFixture) -> None:
    plan = planned([blank(1), blank(2)])
    rules = plan["hosts"]["spark1"]["firewall"]
    asked = {"comment": changes.COMMENT, "rules": rules, "first": True, "firewall": "none"}
    with patch_module_args(asked), pytest.raises(SystemExit):
        ufw_rules.main()
    assert json.loads(capsys.readouterr().out)["changed"] is False


# ---- refusals


def test_a_rule_in_the_way_is_refused_with_its_host() -> None:
    members = pair()
    members[1]["firewall"]["rules"] = [[f"deny in on {A0} from 192.168.100.0/24", ""]]
    with pytest.raises(FabricError, match=r"^spark2: ufw has the rule 'deny in on .*ufw delete deny"):
        planned(members)
    assert names(planned(members, firewall="none")) == {"spark1": [], "spark2": []}
    members[1]["firewall"]["enabled"] = False
    assert names(planned(members)) == {"spark1": [], "spark2": []}


def test_rules_without_ufw_are_refused() -> None:
    members = pair()
    members[0]["firewall"] = {"installed": False, "enabled": False, "rules": []}
    assert names(planned(members)) == {"spark1": [], "spark2": []}
    with pytest.raises(FabricError, match="spark1 has no ufw, and cx7_network_firewall says ufw: install ufw"):
        planned(members, firewall="ufw")


def test_a_host_that_is_about_to_be_rolled_back_is_refused() -> None:
    members = pair()
    members[1]["rollback_pending"] = True
    with pytest.raises(FabricError, match="spark2 will go back to the network before an earlier change"):
        planned(members)
    assert names(planned(members, changing=True)) == {"spark1": [], "spark2": []}, "the timer is this run's own"


def test_the_plugin_says_that_nothing_was_changed() -> None:
    plugin = ActionModule.__new__(ActionModule)
    with pytest.raises(
        PlanError, match=r"^No fabric can be planned: nothing is known of spark2.*Nothing was changed\.$"
    ):
        plugin.plan(options([blank(1)], names=["spark1", "spark2"]), {})
    members = pair()
    assert plugin.plan(options(members), {})["topology"] == "direct"
    members[1]["firewall"]["rules"] = [[f"deny in on {A0} from 192.168.100.0/24", ""]]
    with pytest.raises(PlanError) as refused:
        plugin.plan(options(members), {})
    assert str(refused.value).count("Nothing was changed.") == 1
    with pytest.raises(PlanError) as refused:
        plugin.plan(options(members, changing=True), {})
    assert "Nothing was changed." not in str(refused.value)


# ---- the report


LINK = {"netdev": A0, "peer": "spark2"}
FIGURES = {
    "tool": "iperf3",
    "key": "k",
    "measured": [{"peer": "spark2", "gbps": 190.0, "links": {A0: 190.0}, "errors": {}}],
}


def test_a_report() -> None:
    bandwidth = {"tool": "iperf3", "measured": FIGURES["measured"]}
    for measured, earlier in ((FIGURES, {}), ({"skipped": True}, FIGURES), (FIGURES, {"measured": [], "tool": "x"})):
        found = report("spark1", [LINK], [LINK], measured, earlier, 175)
        assert found == {"links": [LINK], "bandwidth": bandwidth}
    assert report("spark1", [LINK], [LINK], {}, {}, 0) == {"links": [LINK], "bandwidth": None}
    assert report("spark1", [], [], {}, {}, 175) == {"links": [], "bandwidth": None}


@pytest.mark.parametrize(
    ("answers", "earlier", "wanted", "words"),
    [
        ([], FIGURES, 175, "spark1 has no answer on enp1s0f0np0 to spark2"),
        ([LINK], {}, 175, "spark1 has not measured the bandwidth"),
        ([LINK], FIGURES, 400, "The fabric is too slow: spark1 sends 190.0 Gb/s to spark2"),
    ],
)
def test_a_report_that_is_refused(answers: list, earlier: dict, wanted: float, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        report("spark1", [LINK], answers, {}, earlier, wanted)


# ---- the role


def tasks(path: Path) -> list[dict[str, Any]]:
    """Return all tasks of a file, those in blocks too."""
    pending, found = list(yaml.safe_load(path.read_text())), []
    while pending:
        task = pending.pop(0)
        found.append(task)
        for part in ("block", "rescue", "always"):
            pending += task.get(part, [])
    return found


def test_each_change_is_the_name_of_the_task_that_makes_it() -> None:
    wanted = {
        getattr(changes, name)
        for name in ("PROGRAM", "RAISE", "SYSCTL", "NETPLAN", "ACTIVATE", "HOSTS", "FIREWALL", "PACKAGE", "BANDWIDTH")
    }
    all_tasks = list(itertools.chain(*(tasks(TASKS / f"{name}.yml") for name in ("change", "network", "activate"))))
    include = {"ansible.builtin.include_tasks", "ansible.builtin.meta"}
    makers = {
        task["name"].split(" | ", 1)[1]
        for task in all_tasks
        if task.get("changed_when") is not False
        and not include & task.keys()
        and "block" not in task
        and not {"ansible.builtin.assert", "ansible.builtin.fail", "ansible.builtin.wait_for_connection"} & task.keys()
    }
    assert makers - {"Restore the earlier network"} == wanted
    asked = " ".join(str(task.get("when", "")) for task in all_tasks)
    assert [name for name in wanted if f"'{name}' in __cx7_network_changes" not in asked] == []
