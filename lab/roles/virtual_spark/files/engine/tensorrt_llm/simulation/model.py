# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's files: where they are, and whether they are whole. Every rank looks at its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


class ModelError(Exception):
    """What is wrong with a model, and with which file."""


def find(model: str, env: Mapping[str, str]) -> Path:
    """The directory of a model: itself a directory, or a name that the Hugging Face cache has.

    The real engine would download a name that is not in the cache; this one has no such client.
    """
    if Path(model).is_dir():
        return Path(model)
    if model.startswith("/") or model.count("/") != 1:
        raise ModelError(f"{model} is neither a directory here nor a name such as organisation/model")
    home = env.get("HF_HOME") or Path(env.get("HOME", "/root"), ".cache/huggingface")
    cache = Path(env.get("HF_HUB_CACHE") or Path(home, "hub"))
    repo = cache / f"models--{model.replace('/', '--')}"
    reference = repo / "refs" / "main"
    snapshot = repo / "snapshots" / (reference.read_text().strip() if reference.is_file() else "")
    if not reference.is_file() or not snapshot.is_dir():
        raise ModelError(
            f"Cannot find an appropriate cached snapshot folder for {model} in {cache} "
            "(and a virtual Spark's engine downloads nothing)"
        )
    return snapshot


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object")
    return value


def config(folder: Path) -> dict[str, Any]:
    """config.json; a model of several kinds keeps its language model's numbers one level down."""
    found = _object(folder / "config.json")
    inner = found.get("text_config")
    return {**found, **inner} if isinstance(inner, dict) else found


def sees(folder: Path) -> bool:
    """Whether a model takes pictures: the stand-in for the real one's table of classes."""
    return bool(_object(folder / "config.json").get("vision_config"))


def no_chat(folder: Path, env: Mapping[str, str]) -> str:
    """Why every chat is refused, or nothing: a base model's tokenizer has no template, and gpt-oss wants a vocabulary.

    The real engine would download that, unless it has no network; this one has no such client.
    """
    if config(folder).get("model_type") == "gpt_oss":
        if Path(env.get("TIKTOKEN_ENCODINGS_BASE", ""), "o200k_base.tiktoken").is_file():
            return ""
        return (
            "Error in harmony chat completion: error downloading or loading vocab file: failed to download or load "
            "vocab file"
        )
    about = folder / "tokenizer_config.json"
    if (folder / "chat_template.jinja").is_file() or (about.is_file() and "chat_template" in _object(about)):
        return ""
    return "No chat template found for the given tokenizer and tools."


def safetensors_header(path: Path) -> dict[str, Any]:
    """The tensors of a file, whose size must be what they need."""
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise ModelError(f"{path}: Error while deserializing header: HeaderTooLarge (of {size} bytes in all)")
        try:
            header = json.loads(file.read(length))
            tensors = {name: about for name, about in header.items() if name != "__metadata__"}
            data = max((about["data_offsets"][1] for about in tensors.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise ModelError(f"{path}: Error while deserializing header: InvalidHeader") from None
    if size != 8 + length + data:
        raise ModelError(
            f"{path}: Error while deserializing header: MetadataIncompleteBuffer "
            f"({size} bytes, but its header needs {8 + length + data})"
        )
    return tensors


def shards(folder: Path) -> dict[str, set[str]]:
    """The files with weights, and the tensors that each must hold."""
    if not (folder / INDEX).is_file():
        found = sorted(folder.glob("*.safetensors"))
        if not found:
            raise ModelError(f"No weight files found in {folder}: neither {INDEX} nor *.safetensors")
        parts = [path for path in found if "-of-" in path.name]
        if parts:
            raise ModelError(f"{folder / INDEX} is missing, but {parts[0].name} is part of several")
        return {path.name: set() for path in found}
    weight_map = _object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{folder / INDEX} has no weight_map")
    files: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        files.setdefault(str(name), set()).add(tensor)
    return files


def check_draft(folder: Path) -> None:
    """Die for want of a draft's directory, of its config.json, or of weights; many have no tokenizer of their own."""
    if not folder.is_dir():
        raise ModelError(f"{folder}, the speculative model, is no directory here")
    config(folder)
    for name, tensors in sorted(shards(folder).items()):
        missing = tensors - set(safetensors_header(folder / name))
        if missing:
            raise ModelError(f"{folder / name} lacks the tensor {min(missing)} that {INDEX} promises")


def check(folder: Path, tp: int) -> dict[str, Any]:
    """Die for want of a file, of a part of one, or of heads that ``tp`` ranks can share. Returns config.json."""
    about = config(folder)
    for name, tensors in sorted(shards(folder).items()):
        missing = tensors - set(safetensors_header(folder / name))
        if missing:
            raise ModelError(f"{folder / name} lacks the tensor {min(missing)} that {INDEX} promises")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"{folder / TOKENIZERS[0]} is missing, and so are {' and '.join(TOKENIZERS[1:])}")
    heads = about.get("num_attention_heads")
    if not isinstance(heads, int) or heads < 1:
        raise ModelError(f"{folder / 'config.json'} has no num_attention_heads")
    if heads % tp:
        raise ModelError(f"{folder / 'config.json'}: num_attention_heads {heads} is not divisible by tp_size {tp}")
    return about
