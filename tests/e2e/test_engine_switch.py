# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One engine gives way to another under the same name, and comes back where that does not serve.

All three are the lab's stand-ins: test_vllm.py tries vLLM's beside the real one.
"""

from __future__ import annotations

import json
from typing import Any, Iterator

import pytest

from . import sglang_support, vllm_support
from .conftest import ENGINE, SERVED, Pair, Run, taken_down
from .test_undo import good

pytestmark = pytest.mark.matrix
MODEL = SERVED["spark_model"]
OPTIONS: dict[str, dict[str, Any]] = {
    "trtllm": {"spark_engine": "trtllm"},
    "vllm": vllm_support.STAND_IN.options,
    "sglang": sglang_support.STAND_IN.options,
}
#: what /v1/models says of itself, by engine
OWNERS = {"tensorrt_llm": "trtllm", "vllm": "vllm", "sglang": "sglang"}


class Switched(Pair):
    """Sparks with three engines in their registry, and one model on their hub."""

    launcher = "swarm"

    def stock(self) -> None:
        self.come()
        for name in ("trtllm", "vllm-simulated", "sglang"):
            good(self.play(ENGINE, virtual_spark_engine_name=name))

    def by(self, engine: str, playbook: str = "switch_model.yml", check: bool = False, **more: Any) -> Run:
        """Serve by an engine."""
        options = {**SERVED, **OPTIONS[engine], "spark_launcher": self.launcher, **more}
        return self.play(playbook, check=check, **options)

    def serving(self) -> str:
        """The engine that answers a chat."""
        said = self.host("spark1").run("curl --silent --max-time 20 http://127.0.0.1:8355/v1/models").stdout
        owner = next((owner for owner in OWNERS if f'"owned_by": "{owner}"' in said), "")
        return OWNERS[owner] if owner and self.answers() else ""

    def answers(self) -> bool:
        """Whether the model answers by its name; TensorRT-LLM takes any."""
        messages = [{"role": "user", "content": "Who are you?"}]
        body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": 8})
        ask = "curl --silent --fail --max-time 20 --json %s http://127.0.0.1:8355/v1/chat/completions"
        return self.host("spark1").run(ask, body).succeeded

    def traces(self, engine: str) -> list[str]:
        """What is left of an engine on any Spark, beside NVIDIA's or its makers' own image."""
        look = (
            f"ls -d /etc/dgx-spark/{engine}* /var/lib/dgx-spark/{engine}* /etc/systemd/system/*{engine}*"
            f" /etc/systemd/system/*/*{engine}* 2>/dev/null; docker ps --all --format '{{{{.Names}}}}' | grep {engine};"
            f" docker image ls --filter label=dgx-spark={engine}-serve --quiet;"
            f" docker service ls --format '{{{{.Name}}}}' 2>/dev/null | grep {engine}"
        )
        return [
            f"{name}: {line}"
            for name in self.names
            for line in self.host(name).run("sudo sh -c %s", look).stdout.splitlines()
        ]


@pytest.fixture(scope="module")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switched]:
    """Two Sparks, and all engines where they fetch them."""
    one = Switched(tmp_path_factory.mktemp("engines"))
    one.stock()
    yield one
    taken_down(one)


@pytest.fixture(params=["swarm", "docker"])
def switched(request: pytest.FixtureRequest, sparks: Switched) -> Switched:
    """TensorRT-LLM serves."""
    sparks.launcher = request.param
    good(sparks.by("trtllm", "serve.yml"))
    assert sparks.serving() == "trtllm"
    return sparks


def test_all_round_without_a_trace_of_the_former(switched: Switched) -> None:
    dry = switched.by("vllm", "serve.yml", check=True)
    assert {"End the engine that served before", "Remove the engine that served before"} <= dry.planned()["spark1"]
    assert switched.serving() == "trtllm", "a dry run ends nothing"
    former = "trtllm"
    for engine in ("vllm", "sglang", "trtllm"):
        done = good(switched.by(engine))
        assert switched.serving() == engine
        assert switched.traces(former) == []
        assert "End the engine that served before" in done.made()["spark1"]
        again = good(switched.by(engine, "serve.yml"))
        assert again.changed == {}, again.made()
        former = engine


#: by engine what is refused once it has begun, and what is said of it
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "vllm": ({"vllm_serve_arguments": {"tensor_parallel_size": 2, "max_model_len": 1_000_000}}, "max_model_len"),
    "sglang": ({"sglang_serve_environment": {"VIRTUAL_SPARK_ENGINE_LOAD_SECONDS": "soon"}}, "'soon'"),
}


@pytest.mark.parametrize("engine", WRONG)
def test_one_that_does_not_come_up_gives_way_to_the_former(switched: Switched, engine: str) -> None:
    wrong, says = WRONG[engine]
    done = switched.by(engine, **wrong, engine_serve_max_starts=1)
    assert done.status == "failed"
    assert f"spark1 does not serve {MODEL} as it should" in done.words
    assert says in done.words
    assert f"{MODEL} (dgx-spark-trtllm) serves again on spark1, spark2, as before" in done.words
    assert switched.serving() == "trtllm"
    assert switched.traces(engine) == []
    said = switched.host("spark1").check_output("sudo cat /var/lib/dgx-spark/trtllm/put_back.log")
    assert says in said
    again = good(switched.by("trtllm", "serve.yml"))
    assert again.changed == {}, again.made()


def test_another_name_is_beside_it_and_not_instead(switched: Switched) -> None:
    """It is refused for the port, and nothing is ended."""
    done = switched.by("vllm", "serve.yml", spark_instance="beside")
    assert (done.status, done.changed) == ("failed", {}), done.made()
    assert "port 8355 of 127.0.0.1 is the API's of the instance without a name (dgx-spark-trtllm)" in done.words
    assert switched.serving() == "trtllm"
