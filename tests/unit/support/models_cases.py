# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models, Sparks and what a hub told, for tests of the report on models."""

from __future__ import annotations

from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, report

#: what somebody may give as a title or a reason, or a hub as its words
HOSTILE = "<script>alert('x')</script>\"&<img src=x onerror=alert(1)> \x1b[31m {{ 7 * 7 }} é"
GB = 10**9
DENSE = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
}
ROUTED = {**DENSE, "model_type": "qwen3_moe", "num_experts": 128, "num_experts_per_tok": 8}


def entry(**said: Any) -> dict[str, Any]:
    return catalogue.load({"lab/one": said})["lab/one"]


def known(**said: Any) -> dict[str, Any]:
    """What hf_models_info returns of one model."""
    plain = {
        "origin": "hub",
        "problem": "",
        "commit": "c" * 40,
        "gated": False,
        "bytes": 9 * GB,
        "weights_bytes": 8 * GB,
    }
    return {
        **plain,
        "blobs": {"a" * 64: 8 * GB, "b" * 40: GB},
        "config": DENSE,
        "tensors": [],
        "tensors_problem": "",
        **said,
    }


def host(name: str, **said: Any) -> report.Host:
    return report.Host(**{"name": name, "memory_mib": 122880, "free_bytes": 900 * GB, **said})


def every_kind() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], list[report.Host]]:
    """Models that fit, of which nothing tells, and that do not; words that want to be markup; two Sparks."""
    entries = {
        "lab/whole": entry(title="Whole", quantisation="NVFP4", confirmed=True),
        "lab/part": entry(title=HOSTILE, sources=[HOSTILE, "https://example.org/a"], weights_gb=9),
        "lab/strange": entry(title="Strange", gated=True),
        "lab/offline": entry(
            config=DENSE, weights_gb=16, active_gb=16, draft={"handle": "lab/draft", "kind": "Eagle3"}
        ),
        "lab/large": entry(config=DENSE, weights_gb=405, min_sparks=4),
        "lab/nothing": entry(),
    }
    blobs = known()["blobs"]
    facts = {
        "lab/whole": known(),
        "lab/part": known(),
        "lab/strange": known(config={"model_type": HOSTILE}, tensors_problem=HOSTILE),
        "lab/offline": known(origin="", bytes=0, weights_bytes=0, blobs={}, config={}, problem=HOSTILE, commit=""),
    }
    hosts = [
        host(
            "spark1",
            blobs={"lab/whole": blobs, "lab/part": {"b" * 40: GB}},
            rates={"hub": {"bytes": GB, "seconds": 10}},
        ),
        host("spark2", blobs={"lab/whole": blobs}, rates={"peer": {"bytes": GB, "seconds": 2}}),
    ]
    return entries, facts, hosts
