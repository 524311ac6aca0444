# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that is tried in a container of the engine's image, beside the serving or before there is one.

This module util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL

LABEL = "dgx-spark.validate"  #: of the containers
NAME = "dgx-spark-validate"
FOLDER = "/run/dgx-spark-validate"  #: on the host and in the container; a tmpfs
PROGRAM = "watch.py"
PATIENCE = 60  #: seconds without its play, after which a container ends by itself
VOCABULARIES = "/encodings"
BY_SHELL = ("-c", 'exec "$@"', "--")  #: a bash, since the image tells nobody else where TensorRT's libraries are

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TRTLLM_NO_USAGE_STATS": "1",
}


class TrialError(Exception):
    """Why nothing can be tried, in words."""


@dataclass(frozen=True)
class Cached:
    """A model in the Hugging Face cache of a host."""

    repo_dir: str
    commit: str
    bytes: int

    @property
    def inside(self) -> str:
        """Its directory in a container, the same as where it is served."""
        return f"{contract.MODEL_DIR}/snapshots/{self.commit}"


def cached(hub: Path, repo: str, revision: str = "main") -> Cached:
    """Look a model up in a cache.

    :param hub: the directory that holds ``models--…``. :raises TrialError: where the model is not there.
    """
    folder = hub / f"models--{repo.replace('/', '--')}"
    reference = folder / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    if not (snapshot / "config.json").is_file():
        raise TrialError(
            f"{repo} is not in {hub}: bring it there first, with the role hf_cache (hf_cache_repo={repo}), or with "
            f"'hf download {repo}'"
        )
    sizes = [path.stat().st_size for path in snapshot.rglob("*") if path.is_file()]
    return Cached(str(folder), commit, sum(sizes))


@dataclass(frozen=True)
class Trial:
    """What is tried."""

    what: str
    image: str
    command: Sequence[str]
    seconds: int
    gpu: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    model: Cached | None = None
    vocabularies: str = ""  # the directory on the host, empty where there are none
    served: str = ""  # the directory on the host of a model that is read and not loaded, empty for none
    memory_mib: int = 0  # that it may take, 0 for no limit
    patience: int = PATIENCE


def run_argv(trial: Trial) -> list[str]:
    """The arguments of docker that start the container: detached, with the model read-only and without any token."""
    mounts = [f"type=bind,source={FOLDER},target={FOLDER}", "type=tmpfs,target=/dev/shm"]
    environment = {**OFFLINE, **trial.environment, "NVIDIA_VISIBLE_DEVICES": "all" if trial.gpu else "void"}
    if trial.model:
        mounts.append(f"type=bind,source={trial.model.repo_dir},target={contract.MODEL_DIR},readonly")
    if trial.vocabularies:
        mounts.append(f"type=bind,source={trial.vocabularies},target={VOCABULARIES},readonly")
        environment["TIKTOKEN_ENCODINGS_BASE"] = VOCABULARIES
    if trial.served:
        mounts.append(f"type=bind,source={trial.served},target={contract.MODEL_DIR},readonly")
    memory = f"{trial.memory_mib}m"
    return [
        "run",
        "--detach",
        "--pull=never",
        f"--name={NAME}",
        f"--label={LABEL}={trial.what}",
        "--network=host",
        *(["--runtime=nvidia"] if trial.gpu else []),
        *([f"--memory={memory}", f"--memory-swap={memory}"] if trial.memory_mib else []),
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        "--log-driver=local",
        "--log-opt=max-size=20m",
        *[f"--mount={mount}" for mount in mounts],
        *[f"--env={name}={value}" for name, value in sorted(environment.items())],
        "--entrypoint=bash",
        trial.image,
        *BY_SHELL,
        "python3",
        f"{FOLDER}/{PROGRAM}",
        FOLDER,
        str(trial.seconds),
        str(trial.patience),
        *trial.command,
    ]


def serving_here(running: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the containers that serve, of those that run.

    A container has its image's labels, so that one of ours would count, too.

    >>> serving_here([{"Names": ["/one"], "Labels": {"dgx-spark.base": "it"}}, {"Names": ["/b"], "Labels": None}])
    ['one']
    """
    return [
        one["Names"][0].lstrip("/")
        for one in running
        if BASE_LABEL in (one.get("Labels") or {}) and LABEL not in (one.get("Labels") or {})
    ]


def served_model(running: Sequence[Mapping[str, Any]], image_id: str) -> str:
    """The directory of the model that a container of an image serves; empty where none does.

    >>> one = {"ImageID": "a", "Labels": {}, "Mounts": [{"Type": "bind", "Source": "/m", "Destination": "/models"}]}
    >>> served_model([one], "a"), served_model([one], "b")
    ('/m', '')
    """
    mounts = [
        mount
        for one in running
        if one.get("ImageID") == image_id and LABEL not in (one.get("Labels") or {})
        for mount in one.get("Mounts") or []
    ]
    found = (one["Source"] for one in mounts if one.get("Type") == "bind" and one["Destination"] == contract.MODEL_DIR)
    return next(found, "")


def memory_problem(model: Cached, available_mib: int, total_mib: int, reserve_mib: int) -> str:
    """Why a model must not be loaded, empty where it may. It goes by its weights, which are all loaded.

    :param reserve_mib: that has to be there beside the weights, on a Spark of 128 GB.

    >>> memory_problem(Cached("/m", "c", 6 << 30), 119000, 122880, 24576)
    ''
    >>> memory_problem(Cached("/m", "c", 6 << 30), 20000, 122880, 24576)[:73]
    'the model needs 30720 MiB (6144 of weights, 24576 beside) and 20000 are a'
    """
    weights, beside = model.bytes >> 20, contract.scaled_mib(reserve_mib, total_mib)
    if available_mib >= weights + beside:
        return ""
    return (
        f"the model needs {weights + beside} MiB ({weights} of weights, {beside} beside) and {available_mib} are "
        "available: end what takes the memory, or choose a smaller model"
    )


def refusal(model: Cached, serving: Sequence[str], beside_serving: bool, memory: str) -> str:
    """Why a model is not loaded into a host's memory, empty where it is.

    :param serving: containers that serve there. :param memory: what :func:`memory_problem` says.
    """
    if serving and not beside_serving:
        return (
            f"the container {', '.join(serving)} serves here, and a second model in the same memory can end it: leave "
            "this part out, end the serving first, or consent with -e validate_beside_serving=true"
        )
    return memory
