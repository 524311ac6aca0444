# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far downloads and copies are, by the files that the modules themselves write, and by damaged and hostile ones."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import DIR_OPTION, Place
from damaged import values
from dgx_spark_metrics import clients, transfers
from dgx_spark_metrics.text import Metrics
from hypothesis import given
from hypothesis import strategies as st
from test_program import told, well_formed

ABOUT: dict[str, Any] = {"what": "lab/tiny-chat downloaded", "bytes": 1000, "bytes_there": 250, "began": 1.5}


def of(*folders: Path, pull: Path = Path("/nowhere/pull.progress"), clock: float | None = None) -> dict[str, float]:
    found = Metrics()
    transfers.collect(found, folders, pull, clock)
    assert well_formed(found)
    return told(found)


def written(path: Path, about: Any = None, **changed: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(about if isinstance(about, str) else json.dumps({**ABOUT, **changed}))
    return path.parent


def test_what_a_module_writes_while_it_runs_is_told_and_nothing_afterwards(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "home" / ".cache" / "huggingface", "lab/tiny-chat")
    cache.own.mkdir(parents=True)
    with progress.written(cache.progress, ABOUT["what"], lambda: 1000, lambda: 250):
        found = of(cache.own)
    assert found['dgx_spark_transfer_bytes{what="lab/tiny-chat downloaded"}'] == 1000
    assert found['dgx_spark_transfer_there_bytes{what="lab/tiny-chat downloaded"}'] == 250
    assert found['dgx_spark_transfer_began_timestamp_seconds{what="lab/tiny-chat downloaded"}'] == pytest.approx(
        time.time(), abs=60
    )
    assert of(cache.own) == {}


def test_the_program_looks_where_the_modules_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    cache, place = Cache(home / ".cache/huggingface", "a/b"), Place(home / ".dgx-spark", "a/b")
    assert DIR_OPTION["default"] == "~/.dgx-spark"
    assert str(transfers.PULL) == progress.PULL
    monkeypatch.setattr(transfers, "homes", lambda: [home])
    written(cache.progress, what="the cache")
    written(place.progress, what="the copy")
    written(tmp_path / "run" / "copy-image.progress", what="an image, copied")
    written(tmp_path / "run" / "pull.progress", what="an image, pulled")
    elsewhere = written(tmp_path / "data" / ".dgx-spark" / "models--a--b.progress", what="the other cache")
    monkeypatch.setattr(transfers, "ALSO", [elsewhere])
    monkeypatch.setattr(transfers, "COPIES", tmp_path / "nothing")
    found = Metrics()
    transfers.collect(found, pull=tmp_path / "run" / "pull.progress")
    names = {name.partition('what="')[2].rstrip('"}') for name in told(found)}
    assert names == {"the cache", "the copy", "an image, pulled", "the other cache"}


def test_a_step_that_was_killed_is_none_that_runs(tmp_path: Path) -> None:
    folder = written(tmp_path / "a.progress")
    assert of(folder, clock=time.time() + transfers.OLD_S - 5) != {}
    assert of(folder, clock=time.time() + transfers.OLD_S + 5) == {}


def test_no_link_of_a_user_is_followed(tmp_path: Path) -> None:
    """The program is root's, and the directories are users'."""
    secret = written(tmp_path / "secret" / "a.progress", what="a secret") / "a.progress"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "b.progress").symlink_to(secret)
    (tmp_path / "way").symlink_to(secret.parent)
    assert of(mine, tmp_path / "way") == {}
    assert of(secret.parent) != {}


def test_what_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.progress")
    (tmp_path / "b.progress").mkdir()
    (tmp_path / "c.progress").write_bytes(b"{" * (transfers.LARGEST + 1))
    assert of(tmp_path) == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"what": 7}', '{"what": "a\\nb"}', '{"what": ""}', "[" * 3000]
)
def test_what_is_of_another_form_is_left_out(text: str, tmp_path: Path) -> None:
    assert of(written(tmp_path / "a.progress", text)) == {}


def test_what_is_not_known_yet_is_absent(tmp_path: Path) -> None:
    found = of(written(tmp_path / "a.progress", bytes=None, bytes_there=7))
    assert {name.partition("{")[0] for name in found} == {
        "dgx_spark_transfer_there_bytes",
        "dgx_spark_transfer_began_timestamp_seconds",
    }


@given(values(ABOUT), st.binary())
def test_damaged_files_are_read_or_left_out(about: Any, raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.progress").write_text(json.dumps(about))
        Path(folder, "b.progress").write_bytes(raw)
        of(Path(folder))


def test_the_homes_are_those_of_root_and_of_people(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(
        "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/x\nme:x:1000:1000::/home/me:/bin/sh\nno:x:1001\n"
        "none:x:2000:1::/:/bin/sh\n"
    )
    assert transfers.homes(passwd) == [Path("/home/me"), Path("/root")]
    assert transfers.homes(tmp_path / "nothing") == []


# --- the gateway's clients --------------------------------------------------------------------------------------------

#: of HAProxy 2.6
TABLE = """# table: clients, type: string, size:10000, used:2
0x56289efe3168: key=alice use=0 exp=7199803 conn_cur=1 gpc0=41 gpc0_rate(60000)=2
0x56289efe3169: key=2001:db8::7 use=0 exp=7199803 shard=0 conn_cur=0 gpc0=3 gpc0_rate(60000)=0

"""


def gateway(folder: Path, said: str | None) -> dict[str, float]:
    (folder / "dgx-spark-gateway").mkdir(exist_ok=True)
    (folder / "dgx-spark-gateway" / "admin.sock").touch()

    def ask(_path: Path, command: str) -> str:
        assert command == "show table clients"
        if said is None:
            raise ConnectionRefusedError
        return said

    found = Metrics()
    clients.collect(found, folder, ask)
    assert well_formed(found)
    return told(found)


def test_a_gateway_tells_what_each_client_asked(tmp_path: Path) -> None:
    assert gateway(tmp_path, TABLE) == {
        'dgx_spark_gateway_client_requests_total{client="alice",gateway="gateway"}': 41,
        'dgx_spark_gateway_client_requests_total{client="2001:db8::7",gateway="gateway"}': 3,
        'dgx_spark_gateway_client_streams{client="alice",gateway="gateway"}': 1,
        'dgx_spark_gateway_client_streams{client="2001:db8::7",gateway="gateway"}': 0,
    }


@pytest.mark.parametrize("said", [None, "", "Unknown table\n", "0x1: use=0 conn_cur=1 gpc0=1\n", "0x1: key=a gpc0=x\n"])
def test_a_gateway_that_tells_no_clients_has_none(said: str | None, tmp_path: Path) -> None:
    assert gateway(tmp_path, said) == {}


def test_of_very_many_clients_the_busiest_are_told(tmp_path: Path) -> None:
    rows = "".join(f"0x{one:x}: key=c{one} use=0 exp=1 conn_cur=0 gpc0={one} x=1\n" for one in range(500))
    found = gateway(tmp_path, rows)
    assert len(found) == 2 * clients.MOST
    assert 'dgx_spark_gateway_client_streams{client="c499",gateway="gateway"}' in found


@given(st.text())
def test_whatever_haproxy_says_is_read_or_left_out(said: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gateway(Path(folder), f"0x1: key={said}")
        gateway(Path(folder), said)
