# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What netplan's generator makes of other files. ``fixtures/netplan`` has the files, and what it made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import render
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan_claims import (
    PROFILES,
    find_conflicts,
    placeholder,
    read_unit,
    renderers,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "netplan"
INPUTS = yaml.safe_load((FIXTURES / "inputs.yml").read_text())
GENERATED = json.loads((FIXTURES / "generated.json").read_text())
OWN, OTHER, EARLIER = "/etc/netplan/40-cx7.yaml", "/etc/netplan/60-x.yaml", "/etc/netplan/30-x.yaml"
A0, B0, A1, B1 = NETDEVS = ("enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1", "enP2p1s0f1np1")
LINKS = [
    {"netdev": netdev, "mac": f"3c:6d:66:00:00:{number}", "driver": "mlx5_core"}
    for netdev, number in zip(NETDEVS, ("10", "20", "11", "21"))
]
BOTH = ("networkd", "NetworkManager")
DHCP, DHCP_BOTH, BOND = ["dhcp4: true"], ["dhcp4: true", "dhcp6: true"], ["a part of bond0"]
RIVAL = ["other settings, which NetworkManager may take instead of the fabric's"]
INSTEAD = ["other settings, which networkd takes instead of the fabric's"]

# By input: what it configures on which netdevs, and where it depends on the renderer, under networkd.
MEANS: dict[str, dict[str, list[str]]] = {
    "management by driver": {},
    "ports by driver": dict.fromkeys(NETDEVS, DHCP),
    "every port, by NetworkManager": dict.fromkeys(NETDEVS, DHCP_BOTH),
    "every port, by networkd": dict.fromkeys(NETDEVS, DHCP),
    "bond by id": dict.fromkeys((A0, B0), BOND),
    "bond by name": dict.fromkeys((A0, B0), BOND),
    "bridge and VRF by id": {A0: ["a part of vrf0"], B0: ["a part of br0"]},
    "VLAN by id": {A0: ["the link of storage"]},
    "VLAN by name": {A0: ["the link of storage"]},
    "bond port by nmcli": {A0: ["a part of bond0"]},
    "bond port by nmcli, new words": {A0: ["a part of bond0"]},
    "address by nmcli": {A0: ["address 10.0.0.5/24", "routes"]},
    "shared by nmcli": {A0: ["ipv4.method shared"]},
    "quoted boolean": {A0: DHCP},
    "boolean of one letter": {A0: ["dhcp4: true", "dhcp6: true"]},
    "boolean that says no": {},
    "addresses and routes": {A0: ["address 10.0.0.5/24", "address fd00::5/64", "routes"]},
    "address with options": {A0: ["address 10.0.0.1/24"]},
    "glob with DHCP": dict.fromkeys(NETDEVS, DHCP),
    "glob of other ports": {},
    "glob without settings": dict.fromkeys(NETDEVS, INSTEAD),
    "glob without settings, behind": {},
    "another name": {A0: ["the name fabric0"]},
    "its own name": {},
    "its own name, and DHCP": {A0: DHCP},
    "our ID for another port": {A0: ["another match for enp1s0f0np0"]},
    "MTU": {A0: ["MTU 1500"]},
    "nothing of the fabric": {},
    "bond by MAC address, with an address of its own": {A0: ["a part of bond0", "MTU 1500"]},
    "not activated": {A0: ["activation manual"]},
    "link-local alone": {A0: ["link-local addresses"]},
    "wireless without a name": {},
    "renderer alone": {},
    "never started by NetworkManager": {},
    "our ID, never started by NetworkManager": {A0: ["activation manual"]},
    "before ours, DHCP": {},
    "before ours, DHCP passed through": {B0: ["dhcp4: true"]},
    "before ours, by another ID": {A0: ["dhcp4: true"]},
    "second profile, link-local": {},
    "second profile, disabled and first": {},
    "second profile, last": {},
}
# What it configures under NetworkManager, where that differs.
UNDER_NETWORKMANAGER: dict[str, dict[str, list[str]]] = {
    "glob without settings": dict.fromkeys(NETDEVS, RIVAL),
    "glob without settings, behind": dict.fromkeys(NETDEVS, RIVAL),
    "its own name": {B0: RIVAL},
    "second profile, link-local": {A0: RIVAL},
    "second profile, disabled and first": {A0: RIVAL},
}


def conflicts(
    files: dict[str, str], documents: dict[str, Any], links: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    own = {OWN: placeholder(NETDEVS)}
    return find_conflicts(files, {**own, **documents}, OWN, LINKS if links is None else links)


def test_all_inputs_are_judged() -> None:
    assert sorted(MEANS) == sorted(INPUTS)
    assert sorted(GENERATED) == sorted(f"{name}, {renderer}" for name in INPUTS for renderer in BOTH)


@pytest.mark.parametrize("renderer", BOTH)
@pytest.mark.parametrize("name", MEANS)
def test_what_others_configure(name: str, renderer: str) -> None:
    made = GENERATED[f"{name}, {renderer}"]
    if made["rc"]:
        assert "NetworkManager definitions do not support matching by driver" in made["err"]
        return
    other = EARLIER if name.startswith("before ours") else OTHER
    found = conflicts(made["files"], {other: INPUTS[name]})
    wanted = UNDER_NETWORKMANAGER.get(name, MEANS[name]) if renderer == "NetworkManager" else MEANS[name]
    assert {one["netdev"]: set(one["sets"]) for one in found} == {netdev: set(wanted[netdev]) for netdev in wanted}
    assert {one["path"] for one in found} <= {other}
    assert [one["netdev"] for one in found] == [netdev for netdev in NETDEVS if netdev in wanted]


def test_addresses_and_mtu_are_told_apart() -> None:
    (one,) = conflicts(GENERATED["addresses and routes, networkd"]["files"], {OTHER: INPUTS["addresses and routes"]})
    assert (one["addresses"], one["mtu"], one["every_port"]) == (["10.0.0.5/24", "fd00::5/64"], None, None)
    (one,) = conflicts(GENERATED["MTU, NetworkManager"]["files"], {OTHER: INPUTS["MTU"]})
    assert (one["addresses"], one["mtu"]) == ([], 1500)


@pytest.mark.parametrize("renderer", BOTH)
def test_a_file_that_comes_before_ours_cannot_set_our_mtu(renderer: str) -> None:
    made = GENERATED[f"MTU, {renderer}"]["files"]
    assert conflicts(made, {"/etc/netplan/30-x.yaml": INPUTS["MTU"]}) == []


def test_our_file_switches_off_what_one_before_it_asks_of_dhcp() -> None:
    """The generator is asked with what ours says of DHCP, since netplan merges the files by ID, in their order."""
    asked = placeholder(NETDEVS)["network"]["ethernets"]
    rendered = yaml.safe_load(render({netdev: {} for netdev in NETDEVS}))["network"]["ethernets"]
    dhcp = {netdev: {key: rendered[netdev][key] for key in ("dhcp4", "dhcp6")} for netdev in NETDEVS}
    assert asked == dhcp == {netdev: {"dhcp4": False, "dhcp6": False} for netdev in NETDEVS}


RJ45 = {"enP7s7": {"dhcp4": True}}


@pytest.mark.parametrize(
    ("name", "more", "shared"),
    [
        ("quoted boolean", {}, False),
        ("quoted boolean", {"ethernets": RJ45}, True),
        ("quoted boolean", {"wifis": {"wlP9s9": {"dhcp4": True}}}, True),
        ("quoted boolean", {"renderer": "networkd"}, True),
        ("bond by id", {}, False),
        ("bond by name", {"ethernets": RJ45}, True),
        ("VLAN by id", {}, False),
        ("glob with DHCP", {}, True),
        ("ports by driver", {}, True),
        ("every port, by networkd", {}, True),
    ],
)
def test_a_file_that_configures_other_ports_too_is_told(name: str, more: dict[str, Any], shared: bool) -> None:
    network = INPUTS[name]["network"]
    document = {
        "network": {**network, **more, "ethernets": {**network.get("ethernets", {}), **more.get("ethernets", {})}}
    }
    found = conflicts(GENERATED[f"{name}, networkd"]["files"], {OTHER: document})
    assert {one["shared"] for one in found} == {shared}


@pytest.mark.parametrize(
    ("name", "profile"), [("every port, by NetworkManager", "any port"), ("every port, by networkd", "any")]
)
def test_a_profile_for_every_port_is_called_one(name: str, profile: str) -> None:
    found = conflicts(GENERATED[f"{name}, networkd"]["files"], {OTHER: INPUTS[name]})
    assert [one["every_port"] for one in found] == [profile] * 4
    assert [one["renderer"] for one in found] == [name.rpartition("by ")[2]] * 4


def test_a_driver_that_is_not_known_is_neither_hit_nor_miss() -> None:
    links = [{**link, "driver": None} for link in LINKS]
    for name, driver in (("management by driver", "r8127"), ("ports by driver", "mlx5_* ixgbe")):
        found = conflicts(GENERATED[f"{name}, networkd"]["files"], {OTHER: INPUTS[name]}, links)
        words = f"if its driver or path is {driver}, which this host does not tell"
        assert [one["sets"] for one in found] == [["dhcp4: true", words]] * 4


def test_several_files_may_define_an_id() -> None:
    """netplan merges by ID: the file that has the setting is meant, as with a file of NVIDIA Sync's."""
    made = GENERATED["addresses and routes, networkd"]["files"]
    more = {"/etc/netplan/30-y.yaml": {"network": {"ethernets": {A0: {"optional": True, "dhcp4": False}}}}}
    found = conflicts(made, {OTHER: INPUTS["addresses and routes"], **more})
    assert [one["path"] for one in found] == [OTHER]
    # One that PyYAML cannot read, and netplan can.
    assert [one["path"] for one in conflicts(made, {})] == ["/etc/netplan"]


PROFILE = f"[connection]\nid=Wired\ntype=ethernet\ninterface-name={A0}\n\n[ipv4]\nmethod=auto\n"


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        (PROFILE, DHCP),
        (PROFILE.replace("auto", "disabled"), RIVAL),
        (PROFILE.replace("auto", "link-local"), RIVAL),
        (PROFILE.replace("auto", "link-local").replace("id=", "autoconnect-priority=10\nid="), RIVAL),
        (PROFILE.replace("auto", "link-local").replace("id=", "autoconnect-priority=x\nid="), RIVAL),
        (PROFILE.replace("auto", "link-local").replace("id=", "autoconnect-priority=-999\nid="), None),
        (PROFILE.replace("auto", "link-local").replace("id=", "autoconnect=false\nid="), None),
        (PROFILE.replace("auto", "disabled").replace(A0, "enP7s7"), None),
        (PROFILE.replace("auto", "manual\naddresses=10.0.0.1/24,10.0.0.254;10.0.1.1/24;"), 2),
        (PROFILE.replace("auto", "manual\ngateway=10.0.0.254"), ["routes"]),
        (PROFILE.replace("interface-name", "x").replace("[ipv4]", f"[match]\ninterface-name={A0};\n[ipv4]"), DHCP),
        (PROFILE.replace(A0, "enP7s7"), None),
        (
            PROFILE.replace("[ipv4]", "[match]\npath=pci-0000:01:00.0;\n[ipv4]"),
            [*DHCP, "if its driver or path is pci-0000:01:00.0;, which this host does not tell"],
        ),
        (PROFILE.replace("type=ethernet", "type=wifi"), None),
        (PROFILE.replace("[ipv4]", "[ethernet]\nmac-address=3C:6D:66:00:00:10\n[ipv4]"), DHCP),
        (PROFILE.replace("[ipv4]", "[ethernet]\nmac-address=3C:6D:66:00:00:99\n[ipv4]"), None),
        (PROFILE.replace("[ipv4]", "[ethernet]\nmtu=1500\n[ipv4]").replace("auto", "disabled"), ["MTU 1500"]),
        (PROFILE.replace("id=Wired", "id=Wired\ncontroller=bond7\nport-type=bond"), ["a part of bond7", *DHCP]),
        # NetworkManager starts these by hand alone, but for the port of a bond, which the bond may start.
        (PROFILE.replace("id=Wired", "id=Wired\nautoconnect=false"), None),
        (PROFILE.replace("id=Wired", "id=Wired\nautoconnect=0"), None),
        (PROFILE.replace("id=Wired", "id=Wired\nautoconnect=true"), DHCP),
        (
            PROFILE.replace("id=Wired", "id=Wired\nautoconnect=false\ncontroller=bond7\nport-type=bond"),
            ["a part of bond7", *DHCP, "activation manual"],
        ),
        # and never these on this port
        (PROFILE.replace("[ipv4]", "[ethernet]\nmac-address-denylist=3C:6D:66:00:00:10;\n[ipv4]"), None),
        (
            PROFILE.replace("[ipv4]", "[ethernet]\nmac-address-blacklist=aa:bb:cc:00:00:01;3c:6d:66:00:00:10\n[ipv4]"),
            None,
        ),
        (PROFILE.replace("[ipv4]", "[802-3-ethernet]\nmac-address-blacklist=3C:6D:66:00:00:10;\n[ipv4]"), None),
        (PROFILE.replace("[ipv4]", "[ethernet]\nmac-address-denylist=AA:BB:CC:00:00:01;\n[ipv4]"), DHCP),
        (PROFILE.replace("[ipv4]", "[802-3-ethernet]\nmac-address=3C:6D:66:00:00:99\n[ipv4]"), None),
        (PROFILE.replace("[ipv4]", "[802-3-ethernet]\nmac-address=3C:6D:66:00:00:10\nmtu=9000\n[ipv4]"), 0),
        ("# nothing\n[connection\n=\nx", None),
    ],
)
def test_profiles_that_networkmanager_keeps_outside_netplan(text: str, sets: list[str] | int | None) -> None:
    path = f"{PROFILES}/Wired.nmconnection"
    found = conflicts({**GENERATED["renderer alone, NetworkManager"]["files"], path: text}, {})
    if sets is None:
        assert found == []
        return
    (one,) = found
    assert (one["path"], one["netdev"]) == (path, A0)
    if sets == 0:
        assert (one["sets"], one["mtu"]) == ([*DHCP, "MTU 9000"], 9000)
    elif isinstance(sets, int):
        assert one["addresses"] == ["10.0.0.1/24", "10.0.1.1/24"]
    else:
        assert one["sets"] == sets


@pytest.mark.parametrize("text", [PROFILE, PROFILE.replace("id=Wired", "id=Wired\ncontroller=bond7\nport-type=bond")])
def test_networkmanager_leaves_a_port_of_networkd_alone(text: str) -> None:
    """netplan's rules for udev mark the port with NM_UNMANAGED."""
    profiles = {f"{PROFILES}/Wired.nmconnection": text, f"{PROFILES}/netplan-{A0}.nmconnection": text}
    assert conflicts({**GENERATED["renderer alone, networkd"]["files"], **profiles}, {}) == []


@pytest.mark.parametrize(
    ("wanted", "path", "sets"),
    [
        ("pci-0000:01:00.0;", "pci-0000:01:00.0", DHCP),
        ("pci-0000:01:00.0;", "pci-0002:01:00.0", None),
        ("pci-0002:*;pci-0000:01:*;", "pci-0000:01:00.0", DHCP),
        ("!pci-0000:01:*;", "pci-0000:01:00.0", None),
        ("platform-*;", "pci-0000:01:00.0", None),
        (
            "pci-0000:01:00.0;",
            None,
            [*DHCP, "if its driver or path is pci-0000:01:00.0;, which this host does not tell"],
        ),
    ],
)
def test_a_path_is_compared_where_the_host_tells_it(wanted: str, path: str | None, sets: list[str] | None) -> None:
    profile = PROFILE.replace(f"interface-name={A0}\n", "").replace("[ipv4]", f"[match]\npath={wanted}\n[ipv4]")
    files = {**GENERATED["renderer alone, NetworkManager"]["files"], f"{PROFILES}/Wired.nmconnection": profile}
    found = conflicts(files, {}, [{**LINKS[0], "path": path}])
    assert [one["sets"] for one in found] == ([sets] if sets else [])


def test_an_upper_that_is_never_started_is_none() -> None:
    upper = f"[connection]\nid=storage\ntype=vlan\nautoconnect=false\ninterface-name={A0}.100\n[vlan]\nparent={A0}\n"
    files = {**GENERATED["renderer alone, NetworkManager"]["files"], f"{PROFILES}/storage.nmconnection": upper}
    assert conflicts(files, {}) == []


def test_a_second_profile_waits_where_ours_goes_first() -> None:
    made = dict(GENERATED["renderer alone, NetworkManager"]["files"])
    own = f"/run/NetworkManager/system-connections/netplan-{A0}.nmconnection"
    second = {f"{PROFILES}/x.nmconnection": PROFILE.replace("auto", "disabled")}
    assert [one["sets"] for one in conflicts({**made, **second}, {})] == [RIVAL]
    made[own] = made[own].replace("[connection]", "[connection]\nautoconnect-priority=5")
    assert conflicts({**made, **second}, {}) == []


def test_a_copy_that_networkmanager_made_of_our_profile_waits() -> None:
    """'nmcli connection modify' leaves one; as long as netplan's profile is there, that one counts. Undo removes it."""
    path = f"{PROFILES}/netplan-{A0}.nmconnection"
    copy = PROFILE.replace("id=Wired", f"id=netplan-{A0}")
    assert conflicts({**GENERATED["renderer alone, NetworkManager"]["files"], path: copy}, {}) == []


BASE = f"[connection]\nid=qsfp\nuuid=u-base\ntype=ethernet\ninterface-name={A0}\n\n[ipv4]\nmethod=auto\n"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("vlan", f"interface-name={A0}.100\n[vlan]\nid=100\nparent={A0}"),
        ("vlan", f"interface-name={A0}.100\n[vlan]\nid=100\nparent=u-base"),
        ("macvlan", f"interface-name={A0}.100\n[macvlan]\nmode=2\nparent={A0}"),
        ("ipvlan", f"interface-name={A0}.100\n[ipvlan]\nmode=1\nparent={A0}"),
        ("macsec", f"interface-name={A0}.100\n[macsec]\nparent={A0}"),
        ("vxlan", f"interface-name={A0}.100\n[vxlan]\nid=1\nparent={A0}"),
        ("ip-tunnel", f"interface-name={A0}.100\n[ip-tunnel]\nmode=1\nparent={A0}"),
        ("vlan", f"interface-name={A0}.100\n[ethernet]\nmac-address=3C:6D:66:00:00:10\n[vlan]\nid=100"),
    ],
)
@pytest.mark.parametrize("renderer", BOTH)
def test_what_networkmanager_puts_over_a_port_is_a_profile_of_its_own(kind: str, settings: str, renderer: str) -> None:
    """It needs the port alone for that, also where networkd has the port."""
    upper = f"[connection]\nid=storage\nuuid=u-upper\ntype={kind}\n{settings}\n\n[ipv4]\nmethod=auto\n"
    base, over = (f"{PROFILES}/{name}.nmconnection" for name in ("qsfp", "storage"))
    more = {base: BASE} if "u-base" in settings else {}
    found = conflicts({**GENERATED[f"renderer alone, {renderer}"]["files"], **more, over: upper}, {})
    assert [(one["path"], one["netdev"], one["sets"]) for one in found if one["path"] != base] == [
        (over, A0, [f"the link of {A0}.100"])
    ]


LINES = f"""[Match] [Network] [Link] [connection] [ipv4] [vlan] Name=* Name= Driver=mlx5_core DHCP=yes Bond=b
MTUBytes=1500 MTUBytes=x type=ethernet master=b method=auto address1= address1=;, = parent= parent={A0} # [ ] \0
interface-name={A0} Address=\u0661"""
lines = st.sampled_from(LINES.split())
paths = st.sampled_from(
    [f"/run/systemd/network/10-netplan-{one}" for one in (f"{A0}.network", f"{A0}.link", "x.network", "%.network")]
    + [f"{PROFILES}/{one}.nmconnection" for one in ("x", f"netplan-{A0}", "%41", "netplan-")]
    + ["/run/udev/rules.d/90-netplan.rules", f"/run/NetworkManager/system-connections/netplan-{A0}.nmconnection"]
)
yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["network", "ethernets", A0, "x"]), inner)
    ),
)


@given(
    st.dictionaries(paths, st.lists(lines, max_size=8).map("\n".join), max_size=4),
    st.dictionaries(st.sampled_from([OWN, OTHER]), yaml_values),
    st.sampled_from([None, "mlx5_core"]),
)
def test_anything_is_read(files: dict[str, str], documents: dict[str, Any], driver: str | None) -> None:
    links = [{"netdev": A0, "mac": None, "driver": driver}]
    for one in find_conflicts(files, documents, OWN, links):
        assert one["sets"]
        assert one["netdev"] == A0


def test_the_renderer_is_who_the_placeholder_went_to() -> None:
    for renderer in BOTH:
        files = {f"{PROFILES}/netplan-{A0}.nmconnection": "", **GENERATED[f"renderer alone, {renderer}"]["files"]}
        assert renderers(files, NETDEVS) == dict.fromkeys(NETDEVS, renderer)


def test_other_files_of_the_generator_are_left_out() -> None:
    assert read_unit("/run/udev/rules.d/99-netplan-x.rules", "a=b") is None
    assert read_unit("/run/systemd/network/10-netplan-bond0.netdev", "[NetDev]\nName=bond0") is None
