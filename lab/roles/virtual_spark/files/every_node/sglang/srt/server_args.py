# SIMULATED: stands in for SGLang in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SGLang's arguments: its parser's flags, and what it refuses of them before anything is loaded."""

from __future__ import annotations

import argparse
from typing import Any, Sequence

from every_node import parser


class ServerArgs:
    """As the real class, which a program asks for the flags of its parser."""

    @staticmethod
    def add_cli_args(of: argparse.ArgumentParser) -> None:
        """Add the flags to a parser."""
        parser.add(of, "sglang")


def prepare_server_args(words: Sequence[str]) -> dict[str, Any]:
    """The arguments with the defaults that matter here. Words that are not known end this process, with status 2."""
    found = argparse.ArgumentParser(prog="sglang serve")
    ServerArgs.add_cli_args(found)
    said = vars(found.parse_args(words))
    defaults = {
        "tp_size": 1,
        "pp_size": 1,
        "dp_size": 1,
        "nnodes": 1,
        "node_rank": 0,
        "host": "127.0.0.1",
        "port": 30000,
        "watchdog_timeout": 300.0,
        "mem_fraction_static": 0.8,
        "chunked_prefill_size": 8192,
        "max_running_requests": 256,
    }
    said |= {name: value for name, value in defaults.items() if said.get(name) is None}
    said["served_model_name"] = said["served_model_name"] or said["model_path"]
    return said


def check(said: dict[str, Any]) -> None:
    """Refuse what the real one does not run. :raises AssertionError, ValueError: in words like its own."""
    ranks, nodes = said["tp_size"] * said["pp_size"], said["nnodes"]
    if nodes > 1 and not said["dist_init_addr"]:
        raise ValueError("--dist-init-addr is required when --nnodes is more than 1")
    assert ranks % nodes == 0, "tp_size must be divisible by number of nodes"
    assert not (said["dp_size"] > 1 and nodes != 1), "multi-node data parallel is not supported unless dp attention!"
    assert ":" not in said["served_model_name"], "served_model_name cannot contain a colon (':') character"
    assert ranks == nodes, f"{ranks // nodes} GPUs are needed on this node, and a virtual Spark has one (SIMULATED)"
