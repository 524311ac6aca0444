# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another model is served, or the old one goes on: switch_model.yml on one Spark and on two, and what goes wrong."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import time
from typing import Any, Iterator

import pexpect
import pytest
import yaml

from .conftest import ROOT, SERVED, Pair, Run, eventually, stocked, taken_down
from .state import Allowed, captured, differences
from .test_internet import in_internet
from .test_undo import MODEL_STAYS, STAYS, back, good, undone

pytestmark = pytest.mark.matrix
A, B, GATED = "lab/tiny-chat", "lab/tiny-next", "lab/gated"
#: on the Sparks and in the containers: where a model's engine looks for faults
FAULTS, INSIDE = "/var/lib/dgx-spark/trtllm/faults", "/var/lib/dgx-spark/engine/faults"
SEED = int(os.environ.get("SWITCH_SEED") or secrets.randbelow(10**6))
MOMENTS = 10
FOLDER = "/etc/dgx-spark/trtllm"


def with_models(one: Pair) -> Pair:
    """Put a second model on the hub, and one that nobody here may have."""
    good(one.play("lab/playbooks/engine.yml", virtual_spark_model=B))
    seed = ["python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={GATED}"]
    in_internet(one, *seed, "--size=1M", "--gated=manual")
    return one


@pytest.fixture(scope="module", params=[1, 2], ids=["one Spark", "two Sparks"])
def sparks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Sparks that nothing has touched, with two models on their hub."""
    one = with_models(stocked(tmp_path_factory.mktemp("switch"), virtual_spark_count=request.param))
    yield one
    taken_down(one)


def playbook(pair: Pair) -> str:
    return "two_spark.yml" if len(pair.names) > 1 else "single_spark.yml"


def switch(pair: Pair, model: str, **options: Any) -> Run:
    return pair.serve("switch_model.yml", spark_model=model, **options)


def mounted(pair: Pair) -> dict[str, str]:
    """The repository that the running container of each Spark has mounted."""
    found = {}
    look = '{{range .Mounts}}{{if eq .Destination "/models"}}{{.Source}}{{end}}{{end}}'
    for name in pair.names:
        ids = pair.host(name).check_output("sudo docker ps --quiet --filter name=dgx-spark-trtllm").split()
        paths = [pair.host(name).check_output("sudo docker inspect --format %s %s", look, one) for one in ids]
        found[name] = " ".join(path.rpartition("/models--")[2].replace("--", "/") for path in paths)
    return found


def serves(pair: Pair) -> str:
    """The model that answers, the same on all Sparks; empty where none does."""
    try:
        about = json.loads(pair.host("spark1").check_output("sudo cat /var/lib/dgx-spark/trtllm/state.json"))
        repos = set(mounted(pair).values())
    except (AssertionError, RuntimeError, ValueError):
        return ""
    answers = about["phase"] == "serving" and bool(pair.asked())
    return repos.pop() if answers and len(repos) == 1 else ""


def history(pair: Pair) -> list[dict[str, Any]]:
    return json.loads(pair.host("spark1").check_output(f"cat {FOLDER}/history.json"))


def nothing_kept(pair: Pair) -> None:
    """Nothing of what served before is left beside what serves."""
    for name in pair.names:
        host = pair.host(name)
        assert not host.run(f"sudo ls {FOLDER}/kept").succeeded
        named = host.check_output("sudo docker ps --all --format '{{.Names}}' --filter name=dgx-spark-trtllm").split()
        assert [one for one in named if one.endswith((".next", ".kept"))] == []


def started(pair: Pair) -> dict[str, str]:
    """When the running containers were started, by Spark."""
    ask = "sudo docker inspect --format '{{.State.StartedAt}}' $(sudo docker ps --quiet --filter name=dgx-spark-trtllm)"
    return {name: pair.host(name).check_output(ask) for name in pair.names}


@pytest.fixture
def serving(sparks: Pair) -> Pair:
    """The Sparks, serving the first model."""
    good(sparks.serve(playbook(sparks)))
    assert serves(sparks) == A
    return sparks


def faulty(pair: Pair, fault: str) -> dict[str, Any]:
    """Have each engine of the second model meet a fault, in the options of the play."""
    for name in pair.names:
        pair.host(name).check_output(f"sudo sh -c 'rm -rf {FAULTS} && mkdir {FAULTS} && touch {FAULTS}/{fault}'")
    return {"spark_models": {B: {"environment": {"VIRTUAL_SPARK_ENGINE_FAULTS": INSIDE}}}}


def test_another_model_serves_and_previous_brings_the_first_back(serving: Pair) -> None:
    run = good(switch(serving, B))
    assert serves(serving) == B
    assert f"{B} serves instead of {A}" in run.words
    nothing_kept(serving)
    assert [one["repo"] for one in history(serving)][-2:] == [A, B]
    again = good(switch(serving, B))
    assert again.changed == {}, again.made()
    good(switch(serving, "previous"))
    assert serves(serving) == A
    assert [one["repo"] for one in history(serving)][-3:] == [A, B, A]
    again = good(serving.serve(playbook(serving)))
    assert again.changed == {}, "what served before serves as it did"


def test_a_download_alone_touches_nothing_that_serves(serving: Pair) -> None:
    for name in serving.names:
        serving.host(name).check_output("rm -rf ~/.cache/huggingface/hub/models--lab--tiny-next")
    since = started(serving)
    run = good(switch(serving, B, download_only=True))
    assert "Nothing of the serving was started or stopped" in run.words
    assert started(serving) == since
    for name in serving.names:
        assert serving.host(name).check_output("ls ~/.cache/huggingface/hub/models--lab--tiny-next/snapshots")
    before = serving.hub_bytes()
    good(switch(serving, B))
    assert serving.hub_bytes() == before, "it was there"
    assert serves(serving) == B


#: by what is wrong with the second model: its fault, and what the play says
FAILS = {
    "crashes": ("die-at-load", "the supervisor gave up"),
    "never answers": ("stand-still", "not loaded after 20 s"),
    "accepts and never answers": ("no-answer", "not loaded after 20 s"),
}


@pytest.mark.parametrize("about", FAILS.values(), ids=FAILS)
def test_a_model_that_does_not_serve_gives_way_to_the_old_one(serving: Pair, about: tuple[str, str]) -> None:
    fault, says = about
    options = {**faulty(serving, fault), "engine_serve_max_starts": 1, "engine_serve_load_timeout": 20}
    run = switch(serving, B, **options)
    assert run.status == "failed"
    assert f"spark1 does not serve {B} as it should" in run.words
    assert says in run.words
    assert f"{A} serves again on {', '.join(serving.names)}, as before" in run.words
    assert serves(serving) == A
    nothing_kept(serving)
    last = history(serving)[-1]
    assert (last["repo"], last["outcome"]) == (B, "put back")
    assert says in last["why"]
    again = good(serving.serve(playbook(serving)))
    assert again.changed == {}, again.made()


def test_a_model_that_cannot_be_had_or_does_not_fit_changes_nothing(serving: Pair) -> None:
    since = started(serving)
    gated = switch(serving, GATED)
    assert (gated.status, gated.changed) == ("failed", {})
    assert GATED in gated.words
    assert "gated" in gated.words
    large = switch(serving, B, spark_models={B: {"min_sparks": 8}})
    assert (large.status, large.changed) == ("failed", {})
    assert "Nothing was changed." in large.words
    assert started(serving) == since
    assert serves(serving) == A


def test_options_that_do_not_serve_are_taken_back_by_every_playbook(serving: Pair) -> None:
    faulty(serving, "die-at-load")
    options = {"trtllm_serve_environment": {"VIRTUAL_SPARK_ENGINE_FAULTS": INSIDE}, "engine_serve_max_starts": 1}
    for name in (playbook(serving), "switch_model.yml"):
        run = serving.serve(name, **options)
        assert run.status == "failed"
        assert f"{A} serves again" in run.words
        assert serves(serving) == A
    again = good(serving.serve(playbook(serving)))
    assert again.changed == {}, again.made()


def test_a_person_chooses_in_a_terminal(serving: Pair) -> None:
    argv, env = told(serving, "ask")
    child = pexpect.spawn(argv[0], argv[1:], env=env, encoding="utf-8", timeout=300, dimensions=(40, 200))
    child.expect("Which model is to serve[?]")
    child.sendline(B)
    child.expect(pexpect.EOF, timeout=900)
    child.close()
    assert child.exitstatus == 0, child.before
    assert serves(serving) == B


def test_what_was_stopped_stays_stopped_where_another_model_does_not_serve(serving: Pair) -> None:
    good(serving.serve("stop.yml"))
    run = switch(serving, B, **faulty(serving, "die-at-load"), engine_serve_max_starts=1)
    assert run.status == "failed"
    assert f"{A} is stopped on {', '.join(serving.names)}, as before: start.yml starts it" in run.words
    assert serves(serving) == ""
    nothing_kept(serving)
    again = serving.serve("stop.yml")
    assert (again.status, again.changed) == ("successful", {}), again.made()
    good(serving.serve("start.yml"))
    assert serves(serving) == A


def told(pair: Pair, model: str, pipelining: bool = True) -> tuple[list[str], dict[str, str]]:
    """A switch as a person types it, and its environment."""
    path = pair.scratch / f"options-{secrets.token_hex(3)}.yml"
    path.write_text(yaml.safe_dump({**SERVED, **pair.variables, "spark_model": model}))
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        "ANSIBLE_PIPELINING": str(pipelining),
    }
    argv = ["ansible-playbook", "-i", str(pair.inventory), "-e", f"@{path}", str(ROOT / "playbooks/switch_model.yml")]
    return argv, {**os.environ, **settings}


def begun(pair: Pair, model: str, pipelining: bool = True) -> subprocess.Popen[str]:
    """Start a switch in a session of its own."""
    argv, env = told(pair, model, pipelining)
    return subprocess.Popen(
        argv,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def whole(sparks: Pair) -> float:
    """How long a switch takes, in seconds."""
    good(sparks.serve(playbook(sparks)))
    good(switch(sparks, B))
    clock = time.monotonic()
    assert begun(sparks, A).wait(600) == 0
    return time.monotonic() - clock


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_switch_that_is_killed_leaves_the_old_model_or_the_new_one(sparks: Pair, whole: float, number: int) -> None:
    """At a random moment of each tenth of its time: the play's process alone, or all of its session.

    Every other time without pipelining: modules then run in a terminal, which goes with the play.
    """
    chance = random.Random(f"{SEED} {number}")
    moment, all_of_it = whole * (number + chance.random()) / MOMENTS, chance.random() < 0.5
    print(f"SWITCH_SEED={SEED}: killed after {moment:.1f} of {whole:.1f} s, all of its session: {all_of_it}")
    before = serves(sparks) or A
    after = B if before == A else A
    play = begun(sparks, after, pipelining=number % 2 == 0)
    time.sleep(moment)
    if all_of_it:
        os.killpg(play.pid, signal.SIGKILL)
    else:
        os.kill(play.pid, signal.SIGKILL)
    play.wait(60)
    eventually(lambda: serves(sparks) in (A, B), True, seconds=180)
    print(f"{serves(sparks)} serves, of {before} and {after}")
    run = good(switch(sparks, after))
    assert serves(sparks) == after, run.said
    nothing_kept(sparks)
    assert history(sparks)[-1]["repo"] == after


def edited(pair: Pair) -> None:
    """A stranger's lines in files that the roles write too."""
    add = (
        "import json, pathlib; p = pathlib.Path('/etc/docker/daemon.json'); "
        "d = json.loads(p.read_text()) if p.exists() else {}; d['max-concurrent-uploads'] = 4; "
        "p.write_text(json.dumps(d, indent=4)); h = pathlib.Path('/etc/hosts'); "
        "h.write_text(h.read_text() + '10.9.8.7 printer.example\\n')"
    )
    for name in pair.names:
        pair.host(name).check_output("sudo python3 -c %s", add)


#: the stranger's lines, which stay
EDITED = (
    Allowed("files", "/etc/hosts", "a stranger's line"),
    Allowed("files", "/etc/docker/daemon.json", "a stranger's setting"),
)


@pytest.mark.parametrize("strange", [False, True], ids=["left alone", "edited meanwhile"])
def test_three_switches_and_undo_lead_back_to_the_start(sparks: Pair, strange: bool) -> None:
    good(sparks.play("undo.yml", **SERVED, spark_undo_packages=True, spark_undo_model=True))
    for name in sparks.names:
        sparks.host(name).run(f"rm -rf ~/.cache/huggingface; sudo docker image rm {SERVED['spark_image']}")
    before = captured(sparks)
    good(sparks.serve(playbook(sparks)))
    for number, model in enumerate((B, "previous", B)):
        good(switch(sparks, model))
        if strange and number == 1:
            edited(sparks)
    assert serves(sparks) == B
    undone(sparks, spark_undo_packages=True)
    if not strange:
        back(sparks, before, STAYS, MODEL_STAYS)
        return
    assert differences(before, captured(sparks), STAYS, MODEL_STAYS, EDITED) == []
    for name in sparks.names:
        host = sparks.host(name)
        assert "10.9.8.7 printer.example" in host.check_output("cat /etc/hosts")
        assert json.loads(host.check_output("cat /etc/docker/daemon.json"))["max-concurrent-uploads"] == 4
