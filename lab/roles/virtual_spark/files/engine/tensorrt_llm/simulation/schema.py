# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON schema that images from the end of 1.3 on carry, made of the stand-in's own facts.

It is of the real one's form: draft 2020-12, no additional properties, groups in ``$defs``, what may be null as
``anyOf``, and a key that decides between alternatives as ``discriminator``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tensorrt_llm.simulation import era as eras
from tensorrt_llm.simulation import speculation

NAME = "trtllm-serve-config.schema.json"
_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string", "dict": "object", "enum": "string"}
_TAGS = {"speculative_config": "decoding_type"}  # which decide what else is in their group


def schema(era: str, version: str) -> dict[str, Any]:
    """The schema of an era's keys.

    >>> schema("1.4", "1.4.0rc0")["properties"]["tensor_parallel_size"]
    {'type': 'integer', 'title': 'Tensor Parallel Size'}
    """
    facts = eras.facts("llm_args")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "SIMULATED: of a virtual Spark's stand-in.",
        "title": f"TensorRT-LLM {version} trtllm-serve --config",
        "required": [],
        **_Maker(facts, era).made(),
    }


class _Maker:
    def __init__(self, facts: dict[str, Any], era: str) -> None:
        self.facts, self.era = facts, era
        self.rows = [row for row in facts["keys"] if eras.has(row["eras"], era)]
        self.definitions: dict[str, Any] = {}

    def made(self) -> dict[str, Any]:
        group = self._group("")
        return {**group, "$defs": dict(sorted(self.definitions.items()))}

    def _group(self, prefix: str) -> dict[str, Any]:
        """A mapping with what is listed below a prefix, and with what may be there besides."""
        properties: dict[str, Any] = {}
        for row in self.rows:
            if row["key"].startswith(prefix):
                name, dot, _rest = row["key"][len(prefix) :].partition(".")
                if name not in properties:
                    properties[name] = self._below(f"{prefix}{name}") if dot else self._leaf(row)
        group = {"type": "object", "properties": properties, "additionalProperties": False}
        open_ones = [one[len(prefix) :] for one in self.facts["open_prefixes"] if one.startswith(prefix)]
        if "" in open_ones and prefix:
            group["additionalProperties"] = True
        begun = [one for one in open_ones if one and "." not in one]
        if prefix:  # of whole groups, the engine takes those alone of which something is known
            for name in (one.rstrip(".") for one in open_ones if one.endswith(".") and one.count(".") == 1):
                properties.setdefault(name, {"anyOf": [{"type": "object"}, {"type": "null"}]})
        if begun:
            group["patternProperties"] = {f"^{one}": {} for one in begun}
        return group

    def _below(self, path: str) -> dict[str, Any]:
        name = path.rpartition(".")[2]
        tag = _TAGS.get(path)
        made = self._alternatives(path, tag) if tag else self._define(name, self._group(f"{path}."))
        return {"anyOf": [made, {"type": "null"}]} if path in self.facts["nullable"] else made

    def _define(self, name: str, group: dict[str, Any]) -> dict[str, Any]:
        title = "".join(part.capitalize() for part in name.split("_"))
        self.definitions[title] = {**group, "title": title}
        return {"$ref": f"#/$defs/{title}"}

    def _alternatives(self, path: str, tag: str) -> dict[str, Any]:
        """One mapping for each word that the deciding key may be."""
        whole = self._group(f"{path}.")
        places = {}
        for word in whole["properties"][tag]["enum"]:
            every = {name: one for name, one in whole["properties"].items() if speculation.takes(word, name, self.era)}
            own = {**every, tag: {"const": word, "default": word, "type": "string"}}
            places[word] = self._define(f"{word}_decoding_config", {**whole, "properties": own})["$ref"]
        return {
            "discriminator": {"mapping": places, "propertyName": tag},
            "oneOf": [{"$ref": place} for place in places.values()],
        }

    def _leaf(self, row: dict[str, Any]) -> dict[str, Any]:
        key, kind = row["key"], row["type"]
        allowed = [*(row["allowed"] or []), *(row.get("allowed_from_1.4", []) if self.era == eras.ERAS[3] else [])]
        made = self._kind(kind, allowed)
        least, most = self.facts["ranges"].get(key, (None, None))
        made.update({name: value for name, value in (("minimum", least), ("maximum", most)) if value is not None})
        if key in self.facts["nullable"]:
            made = {"anyOf": [made, {"type": "null"}]}
        made["title"] = key.rpartition(".")[2].replace("_", " ").title()
        if key in self.facts["deprecated"] and self.era == eras.ERAS[3]:
            made.update(status="deprecated", description=self.facts["deprecated"][key])
        return made

    def _kind(self, kind: str, allowed: list[str]) -> dict[str, Any]:
        if kind == 'bool or "auto"':
            return {"anyOf": [{"type": "boolean"}, {"const": "auto", "type": "string"}]}
        if kind.endswith(" or str"):
            return {"anyOf": [self._kind(kind[: -len(" or str")], allowed), {"type": "string"}]}
        container, _of, element = kind.rstrip("]").partition("[")
        if container in ("list", "set"):
            made: dict[str, Any] = {"type": "array", **({"uniqueItems": True} if container == "set" else {})}
            return {**made, "items": self._kind(element, allowed)} if element else made
        if container == "dict":
            inner = element.rpartition(",")[2]
            return {"type": "object", "additionalProperties": {"type": _TYPES[inner]} if inner else True}
        return {"type": "string", "enum": allowed} if allowed else {"type": _TYPES[kind]}


def main() -> None:
    """Put version and schema where the real package has them; the schema in an image of a version that has one."""
    version, package = eras.version(), Path(__file__).parents[1]
    (package / "version.py").write_text(f'# SIMULATED\n__version__ = "{version}"\n')
    if not eras.has_schema(version):
        return
    folder = package / "schemas"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_text(json.dumps(schema(eras.of_version(version), version), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
