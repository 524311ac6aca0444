# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which arguments of vLLM are not for people, and the parser that judges and renders the others.

This module util is private to the collection.
"""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Parser
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_cli import FLAGS, VERSION

OPTION = "vllm_serve_arguments"
#: what the roles and the supervisor say to vLLM themselves, and what to do instead
OWNED = {
    "host": "set engine_serve_api_host",
    "port": "set engine_serve_api_port",
    "uds": "set engine_serve_api_host",
    "model": "set spark_model",
    "nnodes": "it is the number of Sparks",
    "node-rank": "it is the order of the Sparks in the inventory",
    "master-addr": "it is the leader's control address",
    "master-port": "the supervisor takes a free one at each start",
    "headless": "the supervisor says it to all nodes but the first",
    "distributed-executor-backend": "the supervisor starts a process on every node, without Ray",
    "shutdown-timeout": "stop.yml and restart.yml wait for requests (spark_drain_seconds)",
    "disable-log-stats": "the supervisor tells a busy engine from a dead one by these figures",
    "api-server-count": "one server answers on the leader, and workers have none",
    "grpc": "the supervisor asks for tokens over HTTP",
    "config": f"say each argument in {OPTION}, where it is checked",
}
#: likewise all whose names begin so
OWNED_BEGINNINGS = {
    "data-parallel": "each Spark has one rank of one copy of the model: serve another instance for another copy",
    "ssl-": "the API gateway answers by TLS (docs/clients.md)",
}
SECRETS = {"api-key": "the API gateway asks for keys (playbooks/api_keys.yml)", "hf-token": "the engine runs offline"}

#: vLLM's own takes underscores for dashes, too
PARSER = Parser("vLLM", "vllm serve", VERSION, FLAGS, OPTION, OWNED, OWNED_BEGINNINGS, SECRETS)
