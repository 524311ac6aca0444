# SIMULATED: stands in for TensorRT-LLM's trtllm-serve in a virtual Spark.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``trtllm-serve MODEL …``: refuse what the real one refuses, bind, load on every rank, then listen."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Mapping

import yaml

from tensorrt_llm.simulation import command_line, era, faults, llm_args, log, model, proxy, server, speculation
from tensorrt_llm.simulation.engine import Engine, RemoteEngine, SoloEngine
from tensorrt_llm.simulation.node import visible_gpus


def settings_of(served: command_line.Served) -> dict[str, Any]:
    """Command line and YAML together; the YAML wins, as in the real one."""
    extra: Any = {}
    path = served.options["extra_llm_api_options"]
    if path:
        extra = yaml.safe_load(Path(path).read_text()) or {}
        llm_args.check(extra, era.current())
    return {**served.options, **extra}


def world_size(env: Mapping[str, str], ranks: int, gpus: int) -> int:
    """The ranks of MPI; must be what the parallel sizes ask for."""
    if env.get("TLLM_SPAWN_PROXY_PROCESS"):
        world = int(env.get("tllm_mpi_size") or 1)
    elif int(env.get("OMPI_COMM_WORLD_SIZE") or 1) > 1:
        raise RuntimeError("every rank of mpirun runs trtllm-serve: start it by trtllm-llmapi-launch")
    elif ranks > gpus:
        raise RuntimeError(f"Only {gpus} GPUs are available, but {ranks} are required.")
    else:
        world = ranks
    return world


def check_world(world: int, tp: int, pp: int, cp: int) -> None:
    if world != tp * pp * cp:
        raise ValueError(f"world_size must equal to tp_size * pp_size * cp_size, but got {world} != {tp} * {pp} * {cp}")


def load(engine: Engine, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Load on all ranks, or die naming those that could not."""
    try:
        reports = engine.load(job)
    except proxy.GoneError as error:
        raise RuntimeError(f"Executor worker died during initialization: {error}") from None
    failed = [f"rank {one['rank']} on {one['host']}: {one['error']}" for one in reports if one["error"]]
    if failed:
        for one in failed:
            log.say(f"Failed to initialize executor on {one}", "E")
        raise RuntimeError(f"Executor worker died during initialization: {'; '.join(failed)}")
    return reports


def name_of(path: str, served_name: str | None) -> str:
    """A directory is served under its own last name: for a snapshot of the Hugging Face cache, the commit."""
    return served_name or (Path(path).name if Path(path).is_dir() else path)


def run(http: server.Server) -> None:
    """Serve until SIGTERM or SIGINT, let what runs finish, then die by the signal, as uvicorn does."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    captured: list[int] = []

    def end(number: int, _frame: object) -> None:
        if number == signal.SIGTERM and faults.active(faults.IGNORE_SIGTERM):
            return
        captured.append(number)
        threading.Thread(target=http.end).start()

    for number in before:
        signal.signal(number, end)
    host, port = http.socket.getsockname()[:2]
    log.uvicorn(f"Started server process [{os.getpid()}]")
    log.uvicorn("Application startup complete.")
    log.uvicorn(f"Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
    http.serve_forever(poll_interval=0.1)
    log.uvicorn("Shutting down")
    http.server_close()
    log.uvicorn(f"Finished server process [{os.getpid()}]")
    for number, handler in before.items():
        signal.signal(number, handler)
    for number in captured:
        signal.raise_signal(number)


def usage_words(env: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """What the real one would do with reports of its use; nothing is ever sent from here.

    >>> usage_words({"DO_NOT_TRACK": "1"}, {}), usage_words({}, {"telemetry_config": {"disabled": True}})
    ('usage reports are off: DO_NOT_TRACK', 'usage reports are off: telemetry_config')
    >>> usage_words({"TRTLLM_NO_USAGE_STATS": "0"}, {})
    'usage reports would be sent'
    """
    named = [
        one for one in ("TRTLLM_NO_USAGE_STATS", "TELEMETRY_DISABLED", "DO_NOT_TRACK") if env.get(one) in ("1", "true")
    ]
    config = options.get("telemetry_config")
    if options.get("telemetry") is False:
        named.append("--no-telemetry")
    if isinstance(config, Mapping) and config.get("disabled"):
        named.append("telemetry_config")
    return f"usage reports are off: {', '.join(named)}" if named else "usage reports would be sent"


def main(arguments: list[str]) -> int:
    current = era.current()
    try:
        served = command_line.parse(arguments, current)
    except command_line.RefusedError as refused:
        print(refused.text, file=sys.stdout if refused.status == 0 else sys.stderr)
        return refused.status
    log.say(f"SIMULATED: a virtual Spark's stand-in for TensorRT-LLM {era.version()}, flags and keys of era {current}")
    gpus = visible_gpus()
    if served.options["gpus_per_node"] is None and gpus <= 0:
        raise ValueError("No GPU devices found on the node")
    faults.heed_sigterm()
    taken = server.bind(served.options["host"], served.options["port"])
    options = settings_of(served)
    if current != era.ERAS[0]:
        log.say(f"SIMULATED: {usage_words(os.environ, options)}")
    tp, pp = options["tensor_parallel_size"], options["pipeline_parallel_size"]
    cp = options.get("context_parallel_size", 1)
    guesses = speculation.read(options.get("speculative_config"), current)
    world = world_size(os.environ, tp * pp * cp, gpus)
    check_world(world, tp, pp, cp)
    spawned = bool(os.environ.get("TLLM_SPAWN_PROXY_PROCESS"))
    engine: Engine = RemoteEngine(proxy.ProxyClient(*proxy.place(os.environ))) if spawned else SoloEngine()
    path = str(model.find(served.model, os.environ)) if Path(served.model).is_dir() else served.model
    seconds = float(os.environ.get("VIRTUAL_SPARK_ENGINE_LOAD_SECONDS", "2"))
    kv_bytes = (options.get("kv_cache_config") or {}).get("max_gpu_total_bytes") or 0
    draft = guesses.model if guesses else ""
    ranks = load(engine, {"model": path, "tp": tp, "seconds": seconds, "kv_bytes": kv_bytes, "draft": draft})
    api = server.Api(
        engine,
        ranks,
        server.Settings(
            model=name_of(served.model, options.get("served_model_name")),
            version=era.version(),
            era=current,
            max_batch_size=options["max_batch_size"],
            max_num_tokens=options["max_num_tokens"] or 8192,
            max_seq_len=options["max_seq_len"] or ranks[0]["max_seq_len"],
            enable_iter_perf_stats=bool(options.get("enable_iter_perf_stats")),
            return_perf_metrics=bool(options.get("return_perf_metrics")),
            perf_metrics_max_requests=options.get("perf_metrics_max_requests") or 0,
            no_chat=""
            if options.get("chat_template")
            else model.no_chat(model.find(served.model, os.environ), os.environ),
            drafted=guesses.tokens if guesses else 0,
            sees=model.sees(model.find(served.model, os.environ)),
            token_seconds=float(os.environ.get("VIRTUAL_SPARK_ENGINE_TOKEN_SECONDS", "0.005")),
        ),
    )
    run(server.Server(taken, api, fatal=lambda: os.kill(os.getpid(), signal.SIGINT)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
