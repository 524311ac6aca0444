# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images of TensorRT-LLM a registry has that are newer than one, and what each says of itself.

An image says it in its configuration: TensorRT-LLM's own Dockerfile sets the version and the commit as environment
variables. Labels of the same meaning may be those of the image that it was built from, such as
``org.opencontainers.image.version``, which is then Ubuntu's.

This module util is private to the collection.
"""

from __future__ import annotations

import http.client
import re
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import ARCHITECTURES
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.registry import (
    Login,
    Registry,
    RegistryError,
    compressed_bytes,
    digest_for,
    proxy_for,
    reference,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import Version, parse_version
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

#: what went wrong where a registry was asked
FAILURES = (OSError, ValueError, http.client.HTTPException)
#: the last version with the TensorRT backend, by its release page; trtllm-build went with that backend
LAST_WITH_ENGINES = Version(1, 3, 0, 20)
_PAGE = "https://github.com/NVIDIA/TensorRT-LLM/releases"
_POST = re.compile(r"[-_.]?post(\d+)", re.ASCII | re.IGNORECASE)
_NIGHTLY = re.compile(r"[-_.]?dev\d+", re.ASCII | re.IGNORECASE)
#: environment variables and labels that are told; all others may be those of an image below
_SAYS = {
    "version": ("TRT_LLM_VERSION",),
    "commit": ("TRT_LLM_GIT_COMMIT",),
    "cuda": ("CUDA_VERSION",),
    "pytorch": ("NVIDIA_PYTORCH_VERSION", "PYTORCH_VERSION"),
}
_COMMIT_LABEL = "org.opencontainers.image.revision"

_reads_configs = reads(RegistryError, "the image's configuration", "ask for another tag, or pull the image")


def order(tag: str) -> tuple[Version, int, str] | None:
    """By what tags are sorted, the oldest version first; None for a tag that tells no version.

    >>> sorted(["1.3.0rc5.post1", "1.3.0", "1.3.0rc5", "1.3.0rc26.dev202609010000", "1.3.0rc26"], key=order)
    ['1.3.0rc5', '1.3.0rc5.post1', '1.3.0rc26.dev202609010000', '1.3.0rc26', '1.3.0']
    """
    number = parse_version(tag)
    if number is None:
        return None
    post = _POST.search(tag)
    return number, int(post[1]) if post else -1 if is_nightly(tag) else 0, tag


def is_nightly(tag: str) -> bool:
    """Whether a tag is of an image that was made on the way to a version.

    >>> is_nightly("1.3.0rc26.dev202609010000"), is_nightly("1.3.0rc26")
    (True, False)
    """
    return bool(_NIGHTLY.search(tag))


def newer(tags: Iterable[str], than: str) -> list[str]:
    """The tags whose version is newer than that of another one, the newest first.

    :param than: a tag or a version; where it tells no version, all that do are newer.

    >>> newer(["latest", "1.3.0rc13", "1.4.0rc1", "1.3.0rc20"], "1.3.0rc13")
    ['1.4.0rc1', '1.3.0rc20']
    """
    least = order(than)
    known = [(key, tag) for tag in set(tags) for key in [order(tag)] if key is not None]
    return [tag for key, tag in sorted(known, reverse=True) if least is None or key[:2] > least[:2]]


def engines_problem(version: str) -> str:
    """Why an image of a version has no trtllm-build, or nothing.

    >>> engines_problem("1.3.0rc20"), engines_problem("any")
    ('', '')
    >>> engines_problem("1.4.0rc1")[:62]
    '1.4.0rc1 is newer than 1.3.0rc20, the last with the TensorRT b'
    """
    number = parse_version(version)
    if number is None or number <= LAST_WITH_ENGINES:
        return ""
    return (
        f"{version} is newer than 1.3.0rc20, the last with the TensorRT backend ({_PAGE}): since then models are "
        "served from their Hugging Face checkpoint, without trtllm-build"
    )


@_reads_configs
def says(config: Mapping[str, Any]) -> dict[str, str]:
    """What an image says of itself: ``version``, ``commit``, ``cuda``, ``pytorch``, ``created``, ``architecture``.

    :param config: the image's configuration, as its registry has it. What it does not say is empty.

    >>> says({"architecture": "arm64", "config": {"Env": ["TRT_LLM_VERSION=1.4.0rc1"]}})["version"]
    '1.4.0rc1'
    """
    inner = config.get("config") or {}
    environment = dict(str(one).partition("=")[::2] for one in inner.get("Env") or [])
    labels = inner.get("Labels") or {}
    found = {
        name: next((environment[one] for one in names if environment.get(one)), "") for name, names in _SAYS.items()
    }
    found["commit"] = found["commit"] or str(labels.get(_COMMIT_LABEL) or "")
    return {
        **found,
        "created": str(config.get("created") or "")[:10],
        "architecture": str(config.get("architecture") or ""),
    }


@_reads_configs
def architectures(index: Mapping[str, Any]) -> list[str]:
    """The processors that an index has images for; none where it is no index."""
    found = {str((one.get("platform") or {}).get("architecture", "")) for one in index.get("manifests") or []}
    return sorted(found - {"", "unknown"})


@_reads_configs
def _offer(registry: Registry, repository: str, tag: str, machine: str, login: Login | None) -> dict[str, Any]:
    found = registry.manifest(repository, tag, login)
    digest = digest_for(found, machine)
    own = registry.manifest(repository, digest, login) if digest else found
    told = says(registry.config(repository, own["config"]["digest"], login))
    wanted = ARCHITECTURES.get(machine, machine)
    if told["architecture"] and told["architecture"] != wanted:
        raise RegistryError(f"the image is for {told['architecture']} alone")
    return {"architectures": architectures(found) or [wanted], "bytes": compressed_bytes(own), "says": told}


def offer(registry: Registry, repository: str, tag: str, machine: str, login: Login | None) -> dict[str, Any]:
    """What a registry tells of one tag: ``tag``, ``nightly``, ``problem``, ``bytes``, ``architectures`` and ``says``.

    :param machine: the processor, as the kernel names it. What cannot be read is a ``problem``, in words.
    """
    about = {"tag": tag, "nightly": is_nightly(tag), "problem": "", "bytes": 0, "architectures": [], "says": says({})}
    try:
        return {**about, **_offer(registry, repository, tag, machine, login)}
    except FAILURES as error:
        return {**about, "problem": str(error) or type(error).__name__}


def ask(
    name: str, than: str, most: int, machine: str, login: Login | None, info: Mapping[str, Any], timeout: float
) -> dict[str, Any]:
    """What a registry has that is newer: ``repository``, ``tags`` (how many), ``newer`` and, of the newest, ``offers``.

    :param name: an image of the repository. :param than: a tag or version. :param most: of how many more is asked.
    :param info: what Docker Engine says of itself, which has its proxy.
    :raises RegistryError: OSError and HTTPException, where the list of tags cannot be had.
    """
    asked = reference(name)
    registry = Registry(asked.server, proxy_for(asked.server, info), timeout=timeout)
    tags = registry.tags(asked.repository, login)
    later = newer(tags, than)
    chosen = _chosen(later, most)
    offers = [offer(registry, asked.repository, tag, machine, login) for tag in chosen]
    return {"repository": repository_of(name), "tags": len(tags), "newer": later, "offers": offers}


def _chosen(later: Sequence[str], most: int) -> list[str]:
    """The newest ones; a nightly one only where there is no other that is as new."""
    released = [tag for tag in later if not is_nightly(tag)]
    return released[:most] or list(later[:most])


def repository_of(name: str) -> str:
    """An image's name without tag and digest.

    >>> repository_of("localhost:5000/a/b:1"), repository_of("nvcr.io/a@sha256:12")
    ('localhost:5000/a/b', 'nvcr.io/a')
    """
    folder, slash, last = name.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"
