# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which arguments of SGLang are not for people, and the parser that judges and renders the others.

This module util is private to the collection.
"""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Parser
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_cli import FLAGS, VERSION

OPTION = "sglang_serve_arguments"
PROGRAM = ("python3", "-m", "sglang.launch_server")
_GPU = "each Spark has one GPU"
_COPY = "each Spark has one rank of one copy of the model: serve another instance for another copy"
#: what the roles and the supervisor say to SGLang themselves, and what to do instead
OWNED = {
    "host": "set engine_serve_api_host",
    "port": "set engine_serve_api_port",
    "model-path": "set spark_model",
    "nnodes": "it is the number of Sparks",
    "node-rank": "it is the order of the Sparks in the inventory",
    "dist-init-addr": "it is the leader's control address, with a port that is free at each start",
    "nccl-port": "the supervisor takes a free one at each start",
    "gated-launch-port": "the supervisor waits for memory before it starts a rank",
    "dp-size": f"{_COPY}, or say attn_dp_size",
    "enable-dp-attention": "say attn_dp_size",
    "use-ray": "the supervisor starts a process on every node, without Ray",
    "base-gpu-id": _GPU,
    "gpu-id-step": _GPU,
    "enable-metrics": "it is always on: by these figures the supervisor tells a busy engine from a dead one",
    "smg-grpc-mode": "the supervisor asks for tokens over HTTP",
    "grpc-mode": "the supervisor asks for tokens over HTTP",
    "encoder-only": "it would generate no token",
    "skip-server-warmup": "a start counts once it has generated a token",
    "enable-ssl-refresh": "the API gateway answers by TLS (docs/clients.md)",
    "delete-ckpt-after-loading": "the model's files are mounted read-only",
    "config": f"say each argument in {OPTION}, where it is checked",
}
#: likewise all whose names begin so
OWNED_BEGINNINGS = {
    "ssl-": "the API gateway answers by TLS (docs/clients.md)",
    "disaggregation-": "one engine reads prompts and generates",
}
_GATEWAY = "the API gateway asks for keys (playbooks/api_keys.yml)"
SECRETS = {"api-key": _GATEWAY, "admin-api-key": "the API gateway lets nobody reach what it guards"}

PARSER = Parser("SGLang", "sglang.launch_server", VERSION, FLAGS, OPTION, OWNED, OWNED_BEGINNINGS, SECRETS)
