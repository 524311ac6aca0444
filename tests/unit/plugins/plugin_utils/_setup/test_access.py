# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of ssh for a person's computer, also as the real ssh reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import access
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.access import AccessError, Host, Tunnel

HOSTS = [Host("spark1", "192.168.1.21", "nvidia", 2222, "me@gateway"), Host("spark2", "192.168.1.22")]


def instance(listens: str, name: str = "dgx-spark-trtllm") -> dict[str, Any]:
    return {"name": name, "cluster": {"api_listen": listens}}


@pytest.mark.parametrize(
    ("listens", "address", "port"),
    [
        ("127.0.0.1:8355", "127.0.0.1", 8355),
        ("0.0.0.0:8000", "127.0.0.1", 8000),
        ("192.168.1.21:8355", "192.168.1.21", 8355),
        ("[::1]:8355", "::1", 8355),
    ],
)
def test_a_tunnel_leads_to_where_the_api_listens(listens: str, address: str, port: int) -> None:
    (one,) = access.api_tunnels([instance(listens)])
    assert (one.address, one.port) == (address, port)


def test_what_has_no_address_yet_has_no_tunnel() -> None:
    assert access.api_tunnels([{"cluster": None}, {}, instance("none")]) == []


def test_two_of_one_port_get_two_and_the_same_twice_gets_one() -> None:
    tunnels = [Tunnel("a", 8355), Tunnel("b", 8355, address="::1"), Tunnel("a again", 8355), Tunnel("c", 443)]
    assert [(one.what, one.local) for one in access.placed(tunnels)] == [("a", 8355), ("b", 8356), ("c", 1443)]


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(AccessError, match="give one from 1 to 65535"):
        access.placed([Tunnel("a", port)])


def test_a_name_that_is_a_pattern_is_refused() -> None:
    with pytest.raises(AccessError, match="no name that ssh takes"):
        access.text([Host("spark*", "192.168.1.21")], [])


def test_a_configuration_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "config"
    access.refuse_foreign(str(path))
    path.write_text(access.text(HOSTS, []))
    access.refuse_foreign(str(path))
    path.write_text("Host mine\n  User me\n")
    with pytest.raises(AccessError, match="config is not of this playbook"):
        access.refuse_foreign(str(path))
    access.refuse_foreign("")


@pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh here")
def test_the_real_ssh_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "config"
    tunnels = access.placed([Tunnel("API", 8355), Tunnel("page", 80, address="::1")])
    path.write_text(access.text(HOSTS, tunnels, "/home/a b/key"))

    def read(host: str) -> dict[str, list[str]]:
        said = subprocess.run(["ssh", "-G", "-F", str(path), host], capture_output=True, text=True, check=True).stdout
        found: dict[str, list[str]] = {}
        for line in said.splitlines():
            name, _space, value = line.partition(" ")
            found.setdefault(name, []).append(value)
        return found

    one, tunnelled, two = read("spark1"), read("spark1-tunnels"), read("spark2")
    assert (one["hostname"], one["user"], one["port"]) == (["192.168.1.21"], ["nvidia"], ["2222"])
    assert one["identityfile"] == ["/home/a b/key"]
    assert one["proxyjump"] == ["me@gateway"]
    assert "localforward" not in one
    assert tunnelled["localforward"] == ["[127.0.0.1]:8355 [127.0.0.1]:8355", "[127.0.0.1]:1080 [::1]:80"]
    assert tunnelled["exitonforwardfailure"] == ["yes"]
    assert (two["hostname"], two["port"]) == (["192.168.1.22"], ["22"])
