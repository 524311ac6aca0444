# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor reads of a host's gateways, and what it may not read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import gateways
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import config
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError

PROGRAM = "-- lua\n"


@dataclass(frozen=True)
class Places(Layout):
    """A gateway below another directory."""

    root: str = ""

    @property
    def directory(self) -> str:
        return f"{self.root}{super().directory}"

    @property
    def admin_socket(self) -> str:
        return f"{self.root}{super().admin_socket}"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A gateway as the role writes it, that does not run."""
    monkeypatch.setattr(gateways, "unit", lambda name: {"active": "inactive", "result": "success", "load": name})
    one = Places("", str(tmp_path))
    Path(one.directory, "tls").mkdir(parents=True)
    Path(one.config).write_text(written())
    Path(one.program).write_text(PROGRAM)
    for path in gateways.private(one):
        Path(path).write_text("")
        Path(path).chmod(0o600)
    return one


def written() -> str:
    settings = config.Settings(
        layout=Layout(),
        exposure=config.KEY,
        address="127.0.0.1",
        port=1,
        certificate=config.CA,
        engine="127.0.0.1:8355",
        state_file="/state.json",
        model="lab/tiny-chat",
    )
    return config.haproxy(settings, config.digest_of(PROGRAM))


def test_a_gateway_that_is_as_written_is_told_so(places: Places) -> None:
    found = gateways.gateway(places)
    assert found["as_written"] is True
    assert (found["listens"], found["holders"], found["clients_problem"]) == ("127.0.0.1:1", [], "")
    assert found["reads"] is None, "none runs"
    assert found["ends_at"] == 0, "an empty file is no certificate"
    own = [] if os.geteuid() == 0 else gateways.private(places)
    assert len(found["readable"]) == len(own)


@pytest.mark.parametrize("name", ["config", "program"])
def test_one_letter_more_is_not_as_written(places: Places, name: str) -> None:
    path = Path(getattr(places, name))
    path.write_text(f"{path.read_text()}#\n")
    assert gateways.gateway(places)["as_written"] is False


def test_a_configuration_of_somebody_elses_is_not_as_written(places: Places) -> None:
    Path(places.config).write_text("global\n    description mine 0123456789abcdef\n")
    found = gateways.gateway(places)
    assert (found["as_written"], found["listens"], found["ends_at"]) == (False, "", None)


def test_private_files_that_others_may_read_are_named(places: Places) -> None:
    Path(places.certificate).chmod(0o640)
    (said,) = [one for one in gateways.gateway(places)["readable"] if one.startswith(places.certificate)]
    assert "mode 0640" in said
    Path(places.authority_key).unlink()
    assert not [one for one in gateways.gateway(places)["readable"] if one.startswith(places.authority_key)]


def test_damaged_clients_are_told(places: Places) -> None:
    Path(places.clients).write_text("{")
    assert "is damaged" in gateways.gateway(places)["clients_problem"]


def test_who_is_not_root_is_told_and_a_host_without_one_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "is_root", lambda: False)
    assert gateways.gateways(tmp_path) == []
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "haproxy.cfg").touch()
    with pytest.raises(UnreadError, match="by root alone"):
        gateways.gateways(tmp_path)
