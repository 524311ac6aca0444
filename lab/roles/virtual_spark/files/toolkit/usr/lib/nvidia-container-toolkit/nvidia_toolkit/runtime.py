# SIMULATED: stands in for NVIDIA's container runtime in a virtual Spark.
"""An OCI runtime in front of runc: edits the specification on ``create`` and hands every command on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from nvidia_toolkit import config, request

OWN_VERSION = "NVIDIA Container Runtime"


def is_create(arguments: list[str]) -> bool:
    """Whether this is ``create``; a bundle directory of that name is not."""
    after_bundle = False
    for word in arguments:
        if not after_bundle and word.startswith("-") and word.lstrip("-") in ("b", "bundle"):
            after_bundle = True
            continue
        if not after_bundle and word == "create":
            return True
        after_bundle = False
    return False


def option(arguments: list[str], *names: str) -> str:
    """The last value of an option, ``--x v`` or ``--x=v``; empty without it."""
    found = ""
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if not word.startswith("-") or name.lstrip("-") not in names:
            continue
        found = value if equals else "".join(arguments[index + 1 : index + 2])
    return found


def low_level(table: config.Table) -> str:
    """The first of the configured runtimes that is there."""
    candidates = config.get(table, "nvidia-container-runtime.runtimes", ["runc", "crun"])
    search = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    for candidate in candidates:
        path = shutil.which(candidate, path=search)
        if path:
            return path
    raise RuntimeError(
        "failed to create NVIDIA Container Runtime: error constructing low-level runtime: error locating runtime: "
        f"no runtime binary found from candidate list: [{' '.join(candidates)}]"
    )


def refusal(text: str, version: tuple[int, int]) -> str:
    """An error with the words that the real runtime puts before it."""
    # Since 1.19 the work is done when the specification is modified, before that when the modifier is made.
    if version >= (1, 19) and not text.startswith("invalid mode"):
        return f"could not apply required modification to OCI specification: error modifying OCI spec: {text}"
    return f"failed to create NVIDIA Container Runtime: failed to construct OCI spec modifier: {text}"


def edit(arguments: list[str], table: config.Table) -> None:
    """Edit <bundle>/config.json in place."""
    import json  # only create pays for what follows

    from nvidia_toolkit import edits, host, limits

    bundle = Path(option(arguments, "b", "bundle") or Path.cwd())
    path = bundle / "config.json"
    spec = json.loads(path.read_text())
    here = host.find()
    try:
        wanted = request.read(spec, table, here)
        gpus_file = bundle / "virtual-spark-gpus"
        given = edits.apply(spec, wanted, here, str(gpus_file))
    except request.ToolkitError as error:
        raise RuntimeError(refusal(str(error), here.number)) from None
    edits.show_rdma_sysfs(spec)
    if given is not None:
        gpus_file.write_text("".join(f"{here.gpus[index]}\n" for index in given))
    changed = limits.clamp(spec)
    if changed:
        limits.record(bundle.name, changed)
    path.write_text(json.dumps(spec, separators=(",", ":")))


def clamp_exec(arguments: list[str]) -> None:
    """``exec`` asks for the container's limits as they were wished for: clamp them as ``create`` did."""
    import json

    from nvidia_toolkit import limits

    path = Path(option(arguments, "p", "process"))
    process = json.loads(path.read_text())
    if limits.clamp({"process": process}):
        path.write_text(json.dumps(process, separators=(",", ":")))


def complain(arguments: list[str], text: str) -> None:
    """To runc's log, where the engine looks for the reason, and to standard error."""
    print(f'level=error msg="{text}"', file=sys.stderr)
    log = option(arguments, "log")
    if not log:
        return
    import json
    import time

    line = {"level": "error", "msg": text, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    with Path(log).open("a") as lines:
        as_json = option(arguments, "log-format") == "json"
        lines.write((json.dumps(line) if as_json else f'time="{line["time"]}" level=error msg="{text}"') + "\n")


def hand_on(path: str, arguments: list[str]) -> NoReturn:
    os.execv(path, [path, *arguments])


def main(arguments: list[str]) -> int:
    try:
        table = config.load(config.default_path())
        runtime = low_level(table)
        if any(word.startswith("-") and word.lstrip("-").split("=")[0] == "version" for word in arguments):
            print(f"{OWN_VERSION} version {config.version()}\ncommit: simulated\n", flush=True)
        elif is_create(arguments):
            edit(arguments, table)
        elif "exec" in arguments and option(arguments, "p", "process"):
            clamp_exec(arguments)
    except (OSError, ValueError, RuntimeError) as error:
        complain(arguments, str(error))
        return 1
    hand_on(runtime, arguments)
