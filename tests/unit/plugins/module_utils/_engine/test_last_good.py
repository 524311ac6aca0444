# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What last served is kept once and whole, is put back as it was, and can start again at any moment in between."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Sequence
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, last_good
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.last_good import LastGoodError, Serving
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = "aaaaaaaaaaaa-111111111111", "bbbbbbbbbbbb-222222222222"
NAME, UNIT = "dgx-spark-trtllm", "dgx-spark-trtllm.service"
#: what each configuration has below its directory
FILES = {
    OLD: {"cluster.json": "", "node.json": "old", "llm.yml": "old", "stack.yml": OLD, "ssh/known_hosts": "old"},
    NEW: {"cluster.json": "", "node.json": "new", "extra.yml": "new", "stack.yml": NEW, "ssh/known_hosts": "new"},
}


def cluster(config: str, *members: str) -> str:
    return json.dumps({"of": config, "nodes": [{"name": name} for name in members], "limits": {"load_timeout_s": 77}})


def write(folder: Path, config: str, members: Sequence[str] = ("spark1",)) -> None:
    """Write a configuration as a play does: over what is there, and nothing is taken away."""
    (folder / "ssh").mkdir(parents=True, exist_ok=True)
    for name, text in FILES[config].items():
        (folder / name).write_text(text or cluster(config, *members))
        (folder / name).chmod(0o600 if name.startswith("ssh") else 0o644)


def read(folder: Path) -> dict[str, tuple[str, int]]:
    """All files of a configuration with their modes, without what is kept."""
    return {
        str(path.relative_to(folder)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file() and contract.KEPT not in path.relative_to(folder).parts
    }


class Docker:
    """SIMULATED: containers by name, each with the configuration that it was made with, and whether it runs."""

    def __init__(self, **containers: str) -> None:
        self.containers = {name.replace("_", "."): config for name, config in containers.items()}
        self.running: set[str] = set()
        self.told: list[str] = []

    def ask(self, method: str, target: str, _body: Any = None) -> Any:
        parts = urlsplit(target)
        _empty, _containers, name, *verb = parts.path.split("/")
        own = name.removeprefix(NAME) or "it"
        if own not in self.containers:
            raise DockerError(f"no container {name}", 404)
        self.told.append(f"{method} {name} {' '.join(verb)}".strip())
        if method == "DELETE":
            del self.containers[own]
        elif verb == ["rename"]:
            new = parse_qs(parts.query)["name"][0].removeprefix(NAME) or "it"
            assert new not in self.containers, "Docker refuses a name that is taken"
            self.containers[new] = self.containers.pop(own)
        elif verb == ["json"]:
            return {"Config": {"Env": [f"{contract.CONFIG_VARIABLE}={self.containers[own]}"]}}
        return None

    def log(self, name: str, _lines: int) -> list[str]:
        return [f"{self.containers[name.removeprefix(NAME) or 'it']} did not serve"]


class Host:
    """SIMULATED: systemd and the docker client, which note what they are told; the unit runs until it is stopped."""

    def __init__(self, fails: str = "", active: bool = True) -> None:
        self.said: list[str] = []
        self.fails, self.active = fails, active

    def __call__(self, argv: Sequence[str]) -> tuple[int, str]:
        if "is-active" in argv:
            return (0 if self.active else 3), ""
        self.said.append(" ".join(argv[:2]))
        self.active = {"stop": False, "start": True}.get(argv[1], self.active)
        return (1, "it will not") if self.fails and self.fails in argv else (0, "")


def serving(folder: Path, launcher: str = "swarm", leader: bool = True, good: str = OLD) -> Serving:
    link = folder / "ssh" / "enabled"  # below it, nothing but trust is of a configuration
    return Serving(good, folder, folder / "var", NAME, UNIT, link, launcher, ["spark1"], leader)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The directory of a serving that serves."""
    write(tmp_path, OLD)
    (tmp_path / "history.json").write_text("[]")
    (tmp_path / "ssh" / "id_ed25519").write_text("key")
    (tmp_path / "ssh" / "enabled").symlink_to("unit")
    return tmp_path


def test_what_is_kept_is_put_back_and_nothing_of_the_other_is_left(folder: Path) -> None:
    before, one, docker, host = read(folder), serving(folder), Docker(), Host()
    assert last_good.keep(one, docker) == ""
    write(folder, NEW)
    (folder / "history.json").write_text("[1]")
    last_good.restore(one, docker, host)
    assert read(folder) == {**before, "history.json": ("[1]", 0o644)}
    assert host.said == ["docker stack"]
    assert last_good.forget(one, docker) == [str(folder / "kept")]
    assert not (folder / "kept").exists()
    assert last_good.forget(one, docker) == []


def test_keys_are_neither_kept_nor_taken_away(folder: Path) -> None:
    one = serving(folder)
    last_good.keep(one, Docker())
    assert sorted(path.name for path in (one.kept / "ssh").iterdir()) == ["known_hosts"]
    assert "history.json" not in last_good.belonging(one.kept)
    last_good.restore(one, Docker(), Host())
    assert (folder / "ssh" / "id_ed25519").read_text() == "key"


def test_what_an_earlier_play_has_kept_is_not_kept_anew(folder: Path) -> None:
    """That play was interrupted: what lies in its place now has never served."""
    one = serving(folder)
    last_good.keep(one, Docker())
    write(folder, NEW)
    assert last_good.keep(one, Docker()) == ""
    assert json.loads((one.kept / "cluster.json").read_text())["of"] == OLD


def test_half_a_copy_counts_for_nothing_and_others_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = serving(folder)
    (folder / "kept" / NEW).mkdir(parents=True)

    def full(*_arguments: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(last_good, "write_atomically", full)
        with pytest.raises(OSError, match="full"):
            last_good.keep(one, Docker())
    assert not one.kept.exists()
    last_good.keep(one, Docker())
    assert last_good.left_in(folder) == [OLD]


PROBLEMS: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "no configuration": (lambda folder: (folder / "cluster.json").unlink(), {}, "is not there, or is no configuration"),
    "half of one": (lambda folder: (folder / "cluster.json").write_text("{"), {}, "or is no configuration"),
    "other members": (lambda folder: write(folder, OLD, ["a", "b"]), {}, "it served on a, b"),
    "no stack": (lambda folder: (folder / "stack.yml").unlink(), {}, "stack.yml does not start it"),
    "another stack": (lambda folder: (folder / "stack.yml").write_text(NEW), {}, "stack.yml does not start it"),
    "no container": (lambda folder: None, {"launcher": "docker"}, "its container is not there"),
}


@pytest.mark.parametrize("about", PROBLEMS.values(), ids=PROBLEMS)
def test_what_could_not_be_put_back_is_not_kept_and_said(
    folder: Path, about: tuple[Callable[[Path], Any], dict[str, Any], str]
) -> None:
    change, options, says = about
    change(folder)
    one = serving(folder, **options)
    assert says in last_good.keep(one, Docker(it=NEW))
    assert not one.kept.exists()
    with pytest.raises(LastGoodError, match="cannot be put back"):
        last_good.restore(one, Docker(it=NEW), Host())


def test_a_worker_of_a_swarm_needs_no_stack(folder: Path) -> None:
    (folder / "stack.yml").unlink()
    one, host = serving(folder, leader=False), Host()
    assert last_good.keep(one, Docker()) == ""
    last_good.restore(one, Docker(), host)
    assert host.said == []


def test_a_stack_that_is_not_deployed_is_told(folder: Path) -> None:
    one = serving(folder)
    last_good.keep(one, Docker())
    with pytest.raises(LastGoodError, match=r"docker stack deploy .* failed: it will not"):
        last_good.restore(one, Docker(), Host("stack"))


def test_under_systemd_the_new_container_takes_the_place_in_one_go(folder: Path) -> None:
    one, docker, host = serving(folder, "docker"), Docker(it=OLD, _next=NEW), Host()
    assert last_good.keep(one, docker) == ""
    last_good.start(one, NEW, docker, host)
    assert docker.containers == {"it": NEW, ".kept": OLD}
    assert host.said == ["systemctl stop", "systemctl start"]
    one.state_dir.mkdir()
    assert last_good.restore(one, docker, host), "it is started"
    assert docker.containers == {"it": OLD}
    assert host.said[2:] == ["systemctl stop", "systemctl reset-failed", "systemctl start"]
    assert (one.state_dir / "put_back.log").read_text() == f"{NEW} did not serve\n"


def test_what_was_never_ended_is_ended_only_where_its_worker_was(folder: Path) -> None:
    """The other one failed before its turn; on a leader, a worker may have been started again."""
    one, docker, host = serving(folder, "docker"), Docker(it=OLD, _next=NEW), Host()
    last_good.keep(one, docker)
    assert last_good.restore(one, docker, host) is False
    assert (docker.containers, host.said) == ({"it": OLD}, ["systemctl reset-failed", "systemctl start"])
    assert last_good.restore(one, docker, host, anew=True)
    assert host.said[2:] == ["systemctl stop", "systemctl reset-failed", "systemctl start"]


def stopped(one: Serving) -> None:
    """Have stop.yml stop it."""
    one.state_dir.mkdir()
    told = {"phase": contract.STOPPED, "reason": contract.BY_STOP}
    (one.state_dir / contract.STATE).write_text(json.dumps(told))


def test_a_stack_that_was_stopped_is_deployed_without_containers(folder: Path) -> None:
    """One that a busy Swarm starts late would come after what stops it again has looked."""
    write(folder, OLD, ["spark1", "spark2"])
    one, laid = replace(serving(folder), members=["spark1", "spark2"]), []

    def run(argv: Sequence[str]) -> tuple[int, str]:
        _own, over = (path for option, path in zip(argv, argv[1:]) if option == "--compose-file")
        laid.append(json.loads(Path(over).read_text()))
        return 0, ""

    stopped(one)
    last_good.keep(one, Docker())
    assert last_good.restore(one, Docker(), run) is False
    assert laid == [last_good.without_containers(2)]
    assert sorted(laid[0]["services"]) == ["leader", "worker"]


def test_what_was_stopped_is_put_back_stopped(folder: Path) -> None:
    one, docker, host = serving(folder, "docker"), Docker(it=OLD, _next=NEW), Host(active=False)
    stopped(one)
    last_good.keep(one, docker)
    assert one.was_stopped
    (one.state_dir / contract.STATE).write_text("{}")
    last_good.start(one, NEW, docker, host)
    assert last_good.restore(one, docker, host) is False
    assert docker.containers == {"it": OLD}
    assert not host.active
    assert host.said[-1] == "systemctl disable"


def test_a_unit_that_is_not_enabled_is_before_it_starts(folder: Path) -> None:
    one, docker, host = serving(folder, "docker"), Docker(it=OLD), Host(active=False)
    one.unit_link.unlink()
    last_good.keep(one, docker)
    assert last_good.restore(one, docker, host)
    assert host.said == ["systemctl reset-failed", "systemctl enable", "systemctl start"]


def test_a_container_that_an_interrupted_play_left_takes_no_place(folder: Path) -> None:
    docker, host = Docker(it=OLD, _next="cccccccccccc-333333333333"), Host()
    last_good.start(serving(folder, "docker", good=""), OLD, docker, host)
    assert (docker.containers, host.said) == ({"it": OLD}, ["systemctl start"])


def test_where_alerts_go_is_no_part_of_a_configuration(folder: Path) -> None:
    one = serving(folder)
    (folder / contract.ALERT_URL).write_text("https://hooks.test/old")
    last_good.keep(one, Docker())
    assert not (one.kept / contract.ALERT_URL).exists()
    (folder / contract.ALERT_URL).write_text("https://hooks.test/new")
    (folder / contract.ALERT).write_text("{}")
    last_good.restore(one, Docker(), Host())
    assert (folder / contract.ALERT_URL).read_text() == "https://hooks.test/new"
    assert (folder / contract.ALERT).exists()


def test_a_start_without_another_container_ends_nothing(folder: Path) -> None:
    docker, host = Docker(it=OLD), Host()
    last_good.start(serving(folder, "docker"), NEW, docker, host)
    assert (docker.containers, host.said) == ({"it": OLD}, ["systemctl start"])


def test_what_never_served_is_not_kept_under_another_name(folder: Path) -> None:
    docker = Docker(it="cccccccccccc-333333333333", _next=NEW, _kept=OLD)
    last_good.start(serving(folder, "docker"), NEW, docker, Host())
    assert docker.containers == {"it": NEW, ".kept": OLD}
    assert set(last_good.forget(serving(folder, "docker"), docker)) == {f"{NAME}.kept"}


def test_a_unit_that_does_not_start_is_told(folder: Path) -> None:
    with pytest.raises(LastGoodError, match=f"systemctl start {UNIT} failed: it will not"):
        last_good.start(serving(folder, "docker"), NEW, Docker(), Host("start"))


class Cut(BaseException):
    """The power goes."""


class Breaking(Docker):
    """SIMULATED: the power goes when so much was changed."""

    def __init__(self, left: int, **containers: str) -> None:
        super().__init__(**containers)
        self.left = left

    def ask(self, method: str, target: str, _body: Any = None) -> Any:
        if method != "GET":
            if self.left == 0:
                raise Cut
            self.left -= 1
        return super().ask(method, target, _body)


@given(st.integers(0, 6), st.booleans())
def test_a_start_that_was_cut_off_is_brought_to_its_end_by_the_next(left: int, stray: bool) -> None:
    more = {"_kept": "cccccccccccc-333333333333"} if stray else {}
    docker = Breaking(left, it=OLD, _next=NEW, **more)
    one = serving(Path(os.devnull), "docker")
    try:
        last_good.start(one, NEW, docker, Host())
    except Cut:
        assert OLD in docker.containers.values(), "what served can be put back"
    docker.left = 99
    if docker.containers.get("it") != NEW:
        docker.containers[".next"] = NEW  # the next play makes it again
    last_good.start(one, NEW, docker, Host())
    assert docker.containers["it"] == NEW
    assert docker.containers[".kept"] == OLD
