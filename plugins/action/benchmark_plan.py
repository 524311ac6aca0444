# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a benchmark; the module of this name documents it."""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import cells, clients, document, provenance
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.report import duration
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.document import document as status_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: of a result, what is read
KEYS = ("read", "unread", "at", "unreachable", "msg", "module_stderr")
ENGINE = "trtllm"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "profile": {"type": "str", "default": "quick"},
        **{name: {"type": "raw"} for name in cells.OPTIONS},
        "runs": {"type": "int", "default": 3},
        "seed": {"type": "int", "default": 1},
        "slo": {"type": "dict", "default": {}},
        "client": {"type": "str", "default": clients.AIPERF},
        "tokenizer": {"type": "str", "default": ""},
        "extra": {"type": "dict", "default": {}},
        "url": {"type": "str", "default": ""},
        "model": {"type": "str", "default": ""},
        "instance": {"type": "str", "default": ""},
        "members": {"type": "list", "elements": "str", "required": True},
        "status": {"type": "str", "required": True},
        "engine": {"type": "str", "required": True},
        "machine": {"type": "str", "required": True},
        "name": {"type": "str", "default": ""},
        "label": {"type": "str", "default": ""},
    }
    ERRORS: ClassVar[tuple[type[Exception], ...]] = (cells.CellsError, clients.ClientError)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the cells, whom to ask, and the document's head."""
        some = cells.cells(asked["profile"], {name: asked[name] for name in cells.OPTIONS})
        order = cells.jobs(some, asked["runs"], asked["seed"])
        clients.refuse(asked["client"], some, asked)
        seconds = sum(cells.seconds_of(job.cell) + clients.START_S[asked["client"]] for job in order)
        slo = _slo(asked["slo"])
        read = _read(asked, task_vars)
        status = status_of(read["status"], time.time())
        instance, why = provenance.chosen(status, asked["instance"])
        if instance is None and not asked["url"]:
            raise PlanError(
                f"{why}: serve a model first, or name the endpoint (benchmark_url, with benchmark_model). "
                "Nothing was measured."
            )
        model = _model(asked, instance)
        told = provenance.cluster(status, read["engine"], read["machine"])
        head = {
            "name": _name(asked, model, told),
            "label": asked["label"],
            "profile": asked["profile"],
            "runs": asked["runs"],
            "seed": asked["seed"],
            "slo": slo,
            "virtual": provenance.any_virtual(told["sparks"]),
            "client": {"name": clients.NAMES[asked["client"]], "version": clients.VERSIONS[asked["client"]]},
            "model": model,
            "endpoint": _address(asked, instance),
            "serving": provenance.serving(instance, read["engine"].get(instance["leader"])) if instance else None,
            "cluster": told,
            "before": provenance.state(status),
            "after": None,
            "meanwhile": [],
        }
        serving = _serving(head) if asked["client"] == clients.IMAGE else {}
        lines = _lines(head, order, seconds)
        self._display.display("\n".join(lines))
        return {
            "cells": [cell.to_json() for cell in some],
            "head": head,
            "endpoint": _endpoint(asked, instance),
            "serving": serving,
            "leader": instance["leader"] if instance else asked["members"][0],
            "seconds": round(seconds),
            "lines": lines,
            "_ansible_verbose_override": True,  # it is shown already
        }


def _read(asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By what, and by host, what was registered."""
    found: dict[str, dict[str, Any]] = {"status": {}, "engine": {}, "machine": {}}
    for host in asked["members"]:
        known = task_vars["hostvars"].get(host) or {}
        status = known.get(asked["status"]) or {}
        found["status"][host] = {key: status[key] for key in KEYS if key in status}
        found["engine"][host] = known.get(asked["engine"]) or {}
        found["machine"][host] = (known.get(asked["machine"]) or {}).get("ansible_facts") or {}
    return found


def _slo(asked: dict[str, Any]) -> dict[str, float]:
    made = {}
    for name, value in asked.items():
        try:
            made[name] = float(value)
        except (TypeError, ValueError):
            made[name] = 0.0
        if name not in ("ttft_ms", "tpot_ms", "e2e_ms") or not 0 < made[name] < 1e9:
            raise PlanError(
                f"benchmark_slo has {name}: {value!r}: give milliseconds above 0 for ttft_ms, tpot_ms or e2e_ms. "
                "Nothing was measured."
            )
    return made


def _model(asked: dict[str, Any], instance: Any) -> dict[str, Any]:
    known = dict(instance["model"]) if instance else {"name": None, "repo": None, "commit": None}
    if asked["model"] and asked["model"] != known["name"]:
        # What is asked under another name may be another model, behind a gateway for one.
        known = (
            {"name": asked["model"], "repo": None, "commit": None}
            if asked["url"]
            else {**known, "name": asked["model"]}
        )
    if not known["name"]:
        raise PlanError("nothing tells the name of the model: give benchmark_model. Nothing was measured.")
    return known


def _name(asked: dict[str, Any], model: dict[str, Any], told: dict[str, Any]) -> str:
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    of = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", (model["repo"] or model["name"]).replace("/", "--")).strip("-.")[:80]
        or "model"
    )
    name = asked["name"] or f"{of}-{len(told['sparks'])}-{asked['profile']}-{when}"
    if not NAME.fullmatch(name):
        raise PlanError(
            f"benchmark_name is {name!r}: give letters, digits, dots, dashes and underscores. Nothing was measured."
        )
    return name


def _serving(head: dict[str, Any]) -> dict[str, Any]:
    """What the client of the image needs to know. :raises PlanError: where the leader does not tell it."""
    serving, commit = head["serving"], head["model"]["commit"]
    image = (serving["image"] or {}).get("id")
    if serving["engine"] != ENGINE or not image or not commit:
        raise PlanError(
            f"{serving['leader']} tells no {ENGINE} image and commit of what it serves (engine {serving['engine']}, "
            f"image {image}, commit {commit}), and benchmark_client=image measures by TensorRT-LLM's client in that "
            "image: use benchmark_client=aiperf, or read the Spark as root (benchmark_become). Nothing was measured."
        )
    flags = serving["flags"] or []
    return {
        "image": image,
        "commit": commit,
        "own_code": any(word.lstrip("-") == "trust_remote_code" for word in flags),
    }


def _address(asked: dict[str, Any], instance: Any) -> str:
    """The endpoint for people, without what may be a secret in an address."""
    return str(_url(asked["url"])) if asked["url"] else f"{instance['endpoint']} on {instance['leader']}"


def _endpoint(asked: dict[str, Any], instance: Any) -> dict[str, Any]:
    """A URL that the controller reaches, or host and port as the leader reaches them."""
    if asked["url"]:
        return {"url": _url(asked["url"]), "host": "", "port": 0}
    parts = urlsplit(instance["endpoint"] or "")
    if not parts.hostname or not parts.port:
        raise PlanError(
            f"{instance['leader']} tells no address of its endpoint: give benchmark_url. Nothing was measured."
        )
    return {"url": "", "host": parts.hostname, "port": parts.port}


def _url(text: str) -> str:
    """The URL with its port, always, and without a path.

    >>> _url("http://spark1:8355/v1"), _url("https://llm.example.org")
    ('http://spark1:8355', 'https://llm.example.org:443')
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    path = parts.path.rstrip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or path not in ("", "/v1") or parts.query:
        raise PlanError(
            f"benchmark_url is {text!r}: give the address of an OpenAI-compatible endpoint, such as "
            "http://spark1:8355/v1. Nothing was measured."
        )
    if parts.username or parts.password:
        raise PlanError(
            "benchmark_url has a user or a password in it, which would show in results: give a key by spark_api_key. "
            "Nothing was measured."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"


def _lines(head: dict[str, Any], order: list[cells.Job], seconds: float) -> list[str]:
    """The plan for people."""
    some = list(dict.fromkeys(job.cell for job in order))
    name = head["client"]["name"]
    lines = [
        f"BENCHMARK {head['profile']} of {head['model']['name']} at {head['endpoint']}, {head['cluster']['shape']}: "
        f"{len(some)} loads x {head['runs']} runs, about {duration(seconds)}"
        f"{f', by {name} on the leader' if name != clients.NAMES[clients.AIPERF] else ''}"
    ]
    lines += [document.VIRTUAL] if head["virtual"] else []
    lines += [
        f"  {cell.key}: {cell.requests} requests of {cell.input} tokens"
        f"{f' behind {cell.depth} shared ones' if cell.depth else ''}, {cell.output} tokens back, "
        f"{cell.concurrency} at once{f', {cell.rate:g} a second' if cell.rate else ''}"
        for cell in some
    ]
    return lines
