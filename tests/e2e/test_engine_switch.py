# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One engine gives way to another under the same name, and comes back where that does not serve.

TensorRT-LLM is the lab's stand-in, vLLM the real one, built for processors.
"""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from .conftest import ENGINE, SERVED, taken_down
from .test_undo import good
from .vllm_support import MODEL, Real, real

pytestmark = pytest.mark.matrix
STAND_IN = SERVED["spark_model"]


@pytest.fixture(scope="module")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Two Sparks, and both engines and their models where they fetch them."""
    one = real(tmp_path_factory.mktemp("engines"))
    good(one.play(ENGINE))
    yield one
    taken_down(one)


@pytest.fixture(params=["swarm", "docker"])
def serving(request: pytest.FixtureRequest, sparks: Real) -> Real:
    """TensorRT-LLM's stand-in serves."""
    sparks.options["spark_launcher"] = request.param
    good(sparks.play("serve.yml", **trtllm(sparks)))
    assert answers(sparks) == "trtllm"
    return sparks


def trtllm(sparks: Real) -> dict[str, Any]:
    """The options with which the stand-in serves."""
    return {**SERVED, "spark_launcher": sparks.options["spark_launcher"]}


def answers(sparks: Real) -> str:
    """The engine that answers, by what only one of them says."""
    if sparks.chat()[0] == 200 and "virtual_spark" not in sparks.chat()[1]:
        return "vllm"
    return "trtllm" if sparks.asked().get("virtual_spark") else ""


def traces(sparks: Real, engine: str) -> list[str]:
    """What is left of an engine on any Spark, beside NVIDIA's or its makers' own image."""
    look = (
        f"ls -d /etc/dgx-spark/{engine}* /var/lib/dgx-spark/{engine}* /etc/systemd/system/*{engine}*"
        f" /etc/systemd/system/*/*{engine}* 2>/dev/null; docker ps --all --format '{{{{.Names}}}}' | grep {engine};"
        f" docker image ls --filter label=dgx-spark={engine}-serve --quiet;"
        f" docker service ls --format '{{{{.Name}}}}' 2>/dev/null | grep {engine}"
    )
    return [
        f"{name}: {line}"
        for name in sparks.names
        for line in sparks.host(name).run("sudo sh -c %s", look).stdout.splitlines()
    ]


def test_there_and_back_without_a_trace_of_the_former(serving: Real) -> None:
    done = good(serving.serve("switch_model.yml"))
    assert answers(serving) == "vllm"
    assert traces(serving, "trtllm") == []
    assert "End the engine that served before" in done.made()["spark1"]
    again = good(serving.serve("serve.yml"))
    assert again.changed == {}, again.made()
    dry = serving.play("serve.yml", check=True, **trtllm(serving))
    assert {"End the engine that served before", "Remove the engine that served before"} <= dry.planned()["spark1"]
    assert answers(serving) == "vllm", "a dry run ends nothing"
    good(serving.play("switch_model.yml", **trtllm(serving)))
    assert answers(serving) == "trtllm"
    assert traces(serving, "vllm") == []
    again = good(serving.play("serve.yml", **trtllm(serving)))
    assert again.changed == {}, again.made()


def test_one_that_does_not_come_up_gives_way_to_the_former(serving: Real) -> None:
    wrong = {**serving.options["vllm_serve_arguments"], "max_model_len": 1_000_000}
    done = serving.serve("switch_model.yml", vllm_serve_arguments=wrong, engine_serve_max_starts=1)
    assert done.status == "failed"
    assert f"spark1 does not serve {MODEL} as it should" in done.words
    assert "max_model_len" in done.words
    assert f"{STAND_IN} (dgx-spark-trtllm) serves again on spark1, spark2, as before" in done.words
    assert answers(serving) == "trtllm"
    assert traces(serving, "vllm") == []
    said = serving.host("spark1").check_output("sudo cat /var/lib/dgx-spark/trtllm/put_back.log")
    assert "max_model_len" in said
    again = good(serving.play("serve.yml", **trtllm(serving)))
    assert again.changed == {}, again.made()


def test_another_name_is_beside_it_and_not_instead(serving: Real) -> None:
    """It is refused for the port, and nothing is ended."""
    done = serving.serve("serve.yml", spark_instance="beside")
    assert (done.status, done.changed) == ("failed", {}), done.made()
    assert "port 8355 of 127.0.0.1 is the API's of the instance without a name (dgx-spark-trtllm)" in done.words
    assert answers(serving) == "trtllm"
