# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further environment is passed on, and what the role owns or what is a secret is refused without its value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import cluster
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_environment as environment
from hypothesis import given
from hypothesis import strategies as st

SUPERVISOR = Path(__file__).parents[5] / "roles" / "engine_serve" / "files" / "image" / "supervisor"
SECRET = "s3cr3t-v4lue"


def problems(said: dict[str, Any]) -> list[str]:
    return list(environment.environment_problems(said))


@pytest.mark.parametrize(
    "said",
    [
        {"TLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"},
        {"TRT_LLM_DISABLE_LOAD_WEIGHTS_IN_PARALLEL": 1, "NCCL_DEBUG_SUBSYS": "INIT,NET"},
        {"TOKENIZERS_PARALLELISM": "false", "TLLM_MAX_TOKENS": 4, "SOME_KEY": "x"},
        {"HTTPS_PROXY": "http://proxy:3128", "UNSAID": None, "EMPTY": ""},
    ],
    ids=str,
)
def test_what_is_harmless_is_passed_on(said: dict[str, Any]) -> None:
    assert problems(said) == []
    wanted = {name: str(value) for name, value in said.items() if value is not None}
    assert environment.environment(said, harmony=False) == {**environment.ENVIRONMENT, **wanted}


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "NGC_APIKEY", "DB_PASSWORD", "MY_PASSWD", "MYSECRET"),
        *("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "hf_token", "TOKEN", "X_CREDENTIALS", "TLS_PRIVATE_KEY"),
    ],
)
def test_a_secret_is_refused_by_its_name(name: str) -> None:
    (said,) = problems({name: SECRET})
    assert said.startswith(f"trtllm_serve_environment: {name} looks like a secret")
    assert SECRET not in said


@pytest.mark.parametrize(
    "value",
    [f"hf_{'a' * 30}", f"nvapi-{'b' * 60}", f"sk-{'c' * 40}", f"ghp_{'d' * 36}", "http://me:hidden@proxy:3128"],
)
def test_a_secret_is_refused_by_what_it_looks_like(value: str) -> None:
    (said,) = problems({"SETTING": value})
    assert "SETTING looks like a secret" in said
    assert value not in said


@pytest.mark.parametrize(
    "name",
    [
        *(
            "HF_HOME",
            "DO_NOT_TRACK",
            "TIKTOKEN_ENCODINGS_BASE",
            "NCCL_IB_HCA",
            "NCCL_IB_GID_INDEX",
            "NVIDIA_VISIBLE_DEVICES",
        ),
        *("OMPI_MCA_btl", "DGX_SPARK_CONFIG", "TLLM_SPAWN_PROXY_PROCESS", "LD_LIBRARY_PATH", "TRITON_CACHE_DIR"),
    ],
)
def test_what_is_set_already_is_refused(name: str) -> None:
    assert problems({name: "x"}) == [
        f"trtllm_serve_environment: {name} is set by the role, the supervisor or the image: leave it out"
    ]


def test_what_the_plan_and_the_supervisor_set_is_owned() -> None:
    node = {
        "name": "spark1",
        "links": [{"rdma_device": "rocep1s0f0", "netdev": "enp1s0f0np0"}],
        **{"netdev": "enp1s0f0np0", "on_fabric": False},
    }
    names = set(cluster.node_environment(node, require_rdma=True))
    texts = [(SUPERVISOR / name).read_text() for name in ("caches.py", "engines/trtllm.py")]
    names |= {
        name for text in texts for name in re.findall(r'"([A-Z]+(?:_[A-Z]+)*_(?:CACHE|BASE)(?:_[A-Z]+)?)":', text)
    }
    assert {"TRITON_CACHE_DIR", "NCCL_IB_HCA", "PMIX_HOSTNAME", "TLLM_AUTOTUNER_CACHE_PATH"} <= names
    assert [name for name in sorted(names) if not problems({name: "x"})] == []


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"1ST": "x"}, "is no name of a variable"),
        ({"A-B": "x"}, "is no name of a variable"),
        ({"A B": "x"}, "is no name of a variable"),
        ({"": "x"}, "is no name of a variable"),
        ({"Ä": "x"}, "is no name of a variable"),
        ({"A": True}, "write it as the program reads it"),
        ({"A": ["x"]}, "must be a string or a number"),
        ({"A": {"b": 1}}, "must be a string or a number"),
        ({"A": "x\ny"}, "has a line break"),
        ({"A": "x\0y"}, "has a line break"),
    ],
)
def test_what_is_no_variable_is_refused(said: dict[str, Any], says: str) -> None:
    (problem,) = problems(said)
    assert says in problem


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4))
def test_what_passes_can_be_set(said: dict[str, Any]) -> None:
    if not problems(said):
        for name, value in environment.environment(said, harmony=True).items():
            assert name.isascii()
            assert "=" not in name
            assert "\0" not in value
