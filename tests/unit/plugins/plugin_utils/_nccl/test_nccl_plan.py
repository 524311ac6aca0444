# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned of a measurement: the serving's containers without a model, and nothing that stays but an image."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, serving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nccl import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import page, plan, report
from nccl_support import asked as judged
from nccl_support import text

BASE = "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13"
HALVES = (("enp1s0f0np0", "rocep1s0f0", 100), ("enP2p1s0f0np0", "roceP2p1s0f0", 101))


def links(last: int) -> list[dict[str, str]]:
    return [
        {"netdev": netdev, "rdma_device": device, "address": f"192.168.{network}.{last}/24"}
        for netdev, device, network in HALVES
    ]


def found(base: bool = True, **values: Any) -> dict[str, Any]:
    docker = {"base": {"id": "sha256:ba5e"} if base else {}, "images": [], "built": [], "runtime": True}
    return {"docker": docker, "serving": [], "memory_available_mib": 100000, "links": {}, "left": False, **values}


def asked(**values: Any) -> plan.Asked:
    fabric = {
        name: {"control_address": f"192.168.100.{last}", "links": links(last)}
        for name, last in (("spark1", 10), ("spark2", 11))
    }
    given = {
        "members": ["spark1", "spark2"],
        "fabric": fabric,
        "base_image": BASE,
        "context": {"Dockerfile": "FROM it"},
        "found": {"spark1": found(), "spark2": found()},
        "repository": "https://example.org/nccl-tests.git",
        "commit": "a" * 40,
    }
    return plan.Asked(**{**given, **values})


def names(planned: dict[str, Any]) -> dict[str, list[str]]:
    return {host: [one["name"] for one in changes] for host, changes in planned["changes"].items()}


def test_the_first_run_builds_on_the_leader_and_copies() -> None:
    assert names(plan.planned(asked())) == {"spark1": [plan.BUILD], "spark2": [plan.LOAD]}
    there = {"spark1": found(base=False), "spark2": found()}
    assert names(plan.planned(asked(found=there))) == {"spark1": [plan.PULL, plan.BUILD], "spark2": [plan.LOAD]}


def with_image(one: plan.Asked, base: bool) -> dict[str, Any]:
    labels = {layout.BASE_LABEL: BASE, layout.CONTEXT_LABEL: plan.context_digest(one)}
    built = [{"id": "sha256:b111", "tags": [plan.image_name(one)], "labels": labels}]
    spark1, spark2 = found(base=base), found(base=False)
    spark1["docker"].update(images=["sha256:b111"], built=built)
    spark2["docker"].update(images=["sha256:b111"])
    return {"spark1": spark1, "spark2": spark2}


@pytest.mark.parametrize("base", [True, False], ids=["the base is there", "the base was pruned"])
def test_an_image_that_is_everywhere_is_no_change(base: bool) -> None:
    planned = plan.planned(replace(asked(), found=with_image(asked(), base)))
    assert names(planned) == {"spark1": [], "spark2": []}
    assert "sha256:b111" in planned["hosts"]["spark2"]["run"]


@pytest.mark.parametrize("value", [{"commit": "b" * 40}, {"context": {"Dockerfile": "FROM other"}}])
def test_other_programs_make_another_image(value: dict[str, Any]) -> None:
    assert names(plan.planned(replace(asked(), found=with_image(asked(), True), **value)))["spark1"] == [plan.BUILD]


def option(argv: list[str], name: str) -> list[str]:
    return [word.partition("=")[2] for word in argv if word.startswith(f"--{name}=")]


def test_the_containers_are_a_serving_s_but_for_the_model() -> None:
    one = plan.serving_of(asked())
    options = serving.container(one, "spark2")
    argv = plan.planned(asked())["hosts"]["spark2"]["run"]
    assert option(argv, "runtime") == [options["runtime"]]
    assert option(argv, "network") == ["host"]
    assert option(argv, "ulimit") == ["memlock=-1:-1", f"stack={serving.STACK_BYTES}:{serving.STACK_BYTES}"]
    assert option(argv, "cap-add") == options["capabilities"]
    assert dict(text.split("=", 1) for text in option(argv, "env")) == options["env"]
    targets = [dict(word.partition("=")[::2] for word in text.split(","))["target"] for text in option(argv, "mount")]
    assert targets == [mount["target"] for mount in options["mounts"] if mount["target"] != contract.MODEL_DIR]
    assert argv[-3:] == ["python3", contract.PROGRAM, "worker"]


def test_the_containers_end_by_themselves_after_all_operations() -> None:
    planned = plan.planned(asked(limit_s=100))
    argv = planned["hosts"]["spark1"]["run"]
    assert argv[argv.index("timeout") + 2] == str(planned["limit_s"])
    assert planned["limit_s"] > 3 * 100


def test_no_secret_and_no_gid_index_and_no_rule_that_ends_a_rank_on_tcp() -> None:
    planned = plan.planned(asked(environment={"NCCL_ALGO": "Ring"}))
    files = {one["path"].rpartition("/")[2]: one for one in planned["hosts"]["spark1"]["files"]}
    cluster, node = (json.loads(files[name]["content"]) for name in ("cluster.json", "node.json"))
    assert cluster["environment"]["NCCL_ALGO"] == "Ring"
    assert cluster["environment"]["NCCL_DEBUG"] == "INFO"
    assert node["environment"]["NCCL_IB_HCA"] == "=rocep1s0f0,roceP2p1s0f0"
    assert not {"NCCL_NET", "NCCL_IB_GID_INDEX"} & {*cluster["environment"], *node["environment"]}
    assert cluster["limits"]["require_rdma"] is False
    assert files["known_hosts"]["mode"] == "0600"


def test_what_the_leader_runs() -> None:
    told = plan.program(asked(min_bytes=8, max_bytes=1 << 30, factor=4, iterations=7, warmup=1))
    assert " ".join(told["arguments"]) == "-b 8 -e 1073741824 -f 4 -g 1 -c 1 -n 7 -w 1"


def test_links_have_what_was_read_of_them() -> None:
    read = {"spark1": found(links={"enp1s0f0np0": {"mtu": 1500, "carrier": False}}), "spark2": found()}
    planned = plan.planned(asked(found=read))
    assert planned["links"]["spark1"][0] == {
        "netdev": "enp1s0f0np0",
        "rdma_device": "rocep1s0f0",
        "mtu": 1500,
        "carrier": False,
    }
    assert planned["links"]["spark2"][1]["mtu"] == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"members": ["spark1"]}, "measured between Sparks, and there is one"),
        ({"operations": ["all_reduce", "reduce"]}, "nccl_tests_operations names reduce"),
        ({"operations": []}, "nccl_tests_operations names none"),
        ({"min_bytes": 0}, "from 0 to"),
        ({"min_bytes": 16, "max_bytes": 8}, "from 16 to 8 bytes"),
        ({"factor": 1}, "sizes do not grow"),
        ({"iterations": 0}, "at least 1"),
        ({"commit": "v2.19.6"}, "40 hexadecimal digits"),
        ({"environment": {"NCCL_IB_GID_INDEX": "3"}}, "NCCL_IB_GID_INDEX is set by the role"),
        ({"environment": {"HF_TOKEN": "hf_x"}}, "HF_TOKEN is none of NCCL's"),
        ({"found": {"spark1": found(serving=["dgx-spark-trtllm"]), "spark2": found()}}, "playbooks/stop.yml"),
        ({"found": {"spark1": found(), "spark2": found(memory_available_mib=4096)}}, "spark2 has 4096 MiB of memory"),
        ({"fabric": {}}, "no control address is planned for spark1, spark2"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_mend(values: dict[str, Any], words: str) -> None:
    with pytest.raises(plan.ServeError, match=words):
        plan.planned(asked(**values))


def test_a_host_without_nvidia_s_runtime_is_refused() -> None:
    bare = found()
    bare["docker"]["runtime"] = False
    with pytest.raises(plan.ServeError, match="run the role container_toolkit there first"):
        plan.planned(asked(found={"spark1": found(), "spark2": bare}))


def test_a_docker_that_does_not_answer_is_told() -> None:
    silent = found()
    silent["docker"]["problem"] = "no socket"
    with pytest.raises(plan.ServeError, match="Docker on spark2 does not tell what it has: no socket"):
        plan.planned(asked(found={"spark1": found(), "spark2": silent}))


def test_beside_a_serving_with_consent() -> None:
    plan.planned(asked(found={"spark1": found(serving=["x"]), "spark2": found()}, beside_serving=True))


def test_the_build_has_the_engine_s_proxies() -> None:
    there = found()
    there["docker"]["build_proxies"] = {"https_proxy": "http://proxy:3128"}
    planned = plan.planned(asked(found={"spark1": there, "spark2": found()}))
    assert "--build-arg=https_proxy=http://proxy:3128" in planned["image"]["build"]
    assert f"--tag={planned['image']['name']}" in planned["image"]["build"]


def test_a_page_escapes_what_it_shows_and_needs_nothing_from_elsewhere() -> None:
    ended = {"status": 0, "timed_out": False, "seconds": 12.0, "argv": []}
    result = {"problem": "", "origin": "<b>", "operations": {"all_gather": ended}, "left_out": []}
    measured = {"result": result, "outputs": {"all_gather": text(11.3)}, "log": []}
    found = report.report(measured, judged(), {"base_image": "x"}, {}, 0.0)
    html = page.page(found, "/* plotly </script> */")
    assert "<b>" not in html
    assert "half down" in html
    assert "http:" not in html
    assert "https:" not in html.replace("https://www.gnu.org", "")
    drawn = page.plots(found)
    assert drawn[0]["data"][0]["y"][-1] == 11.3
    assert drawn[0]["data"][1]["y"] == [21.875] * 3
