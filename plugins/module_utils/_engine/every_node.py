# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan an engine whose ranks are one command on every Spark, without MPI or Ray: vLLM and SGLang. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError, check_api_host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.environment import Owned, as_text, problems
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Flag, Parser, number, whole
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_names import image_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.of_model import heads_problem, inside, sees

KV_KINDS = {"bf16": "bfloat16", "half": "float16", "fp4_e2m1": "nvfp4"}  # other names of kinds
PATIENCE_S = 300  # for the other ranks, and for one that loads more slowly than they do
PATIENCE_BYTES = 200 * 10**6  # of a rank's share of the model, for a second more


@dataclass(frozen=True)
class Request:
    """What a person asks of the engine."""

    members: Sequence[str]  # leader first
    snapshot: str  # path of the pinned commit below repo_dir, both on the hosts
    repo_dir: str
    repo: str = ""  # the model's handle, by which requests name it
    model_bytes: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)  # flags of the engine's program without dashes
    environment: Mapping[str, Any] = field(default_factory=dict)  # of all ranks, beside what the role sets
    api_host: str = "127.0.0.1"
    config: Mapping[str, Any] = field(default_factory=dict)  # the model's config.json, empty where it is not known
    min_kv_tokens: int = 0  # that must fit into the KV cache
    image: str = ""  # whose tag tells the version
    alias: str = ""  # another name for the model, such as the gateway's
    told: Mapping[str, Flag] | None = None  # the flags that the image has by its own word
    told_version: str = ""  # which the image has by its own word
    vision: str = "auto"  # whether the model takes pictures: by its config.json, always or never


class EveryNode(ABC):
    """One engine of this kind."""

    name: ClassVar[str]
    title: ClassVar[str]
    parser: ClassVar[Parser]
    image: ClassVar[re.Pattern[str]]  # of its makers' own repository, whose tags are versions
    environment: ClassVar[Mapping[str, str]]  # equal on all ranks
    owned: ClassVar[Owned]  # what else of the environment the plan or the supervisor sets
    sizes: ClassVar[Sequence[str]]  # flags whose product is the number of ranks, tensor and pipeline first
    memory: ClassVar[Sequence[str]]  # flags by which a person says how much memory it takes
    limits: ClassVar[Mapping[str, tuple[str, int]]]  # flags of batch, context and chunk, and what it takes unsaid

    @abstractmethod
    def program(self, model: str) -> list[str]:
        """The program and its model, where containers see that."""

    @abstractmethod
    def beneath(self, asked: Request) -> dict[str, Any]:
        """What nobody has said, and the engine's own defaults would get wrong."""

    def completed(self, said: dict[str, Any], asked: Request) -> dict[str, Any]:
        """All arguments, with what is added to those that people and the plan have said."""
        return said

    def overhead_mib(self, asked: Request) -> int:
        """MiB that the engine takes beside what its share of memory says, where it leaves that to chance; else 0."""
        return 0

    def guesses(self, asked: Request) -> str:
        """By what tokens are guessed: ``MTP``, the model's own layers; ``none``, no layers; ``model``; or empty."""
        return ""

    def setting(self, asked: Request) -> dict[str, Any]:
        """What is asked of the memory, as ``fit.Setting`` takes it."""
        said = {
            what: number(self.parser.said(asked.arguments, name)) or unsaid
            for what, (name, unsaid) in self.limits.items()
        }
        kind = str(self.parser.said(asked.arguments, "kv-cache-dtype") or "auto")
        return {
            "tp": max(whole(self.parser.said(asked.arguments, self.sizes[0]), 1), 1),
            "pp": max(whole(self.parser.said(asked.arguments, self.sizes[1]), 1), 1),
            "max_batch_size": said["batch"],
            "max_seq_len": said["context"],
            "max_num_tokens": said["chunk"],
            "kv_dtype": next((word for word in ("fp8", "nvfp4") if kind.startswith(word)), KV_KINDS.get(kind, kind)),
            "min_kv_tokens": asked.min_kv_tokens,
            "engine": self.name,
            "overhead_mib": self.overhead_mib(asked),
        }

    def uncounted(self, asked: Request) -> list[str]:
        """What is said and nothing before a start can count, a sentence each."""
        found = [
            f"how much memory {name.replace('-', '_')} leaves to the KV cache depends on what is free at a start"
            for name in self.memory
            if self.parser.said(asked.arguments, name) is not None
        ]
        if self.guesses(asked) == "model":
            found.append(f"what the model that guesses tokens takes is not counted ({self.name}_serve_arguments)")
        return found

    def more_problems(self, asked: Request) -> Iterator[str]:
        """What else would end a start, or have it stand still."""
        return iter(())

    def more_doubts(self, asked: Request) -> Iterator[str]:
        """What else only the engine can judge."""
        return iter(())

    def plan(self, asked: Request) -> dict[str, Any]:
        """The engine's part of a serving's plan.

        :returns: ``doubts``, a sentence for each argument that only the engine can judge; ``name`` and ``title``;
            ``settings`` for ``cluster.json``; ``serve``, the command line of every rank but for its place;
            ``environment`` of all ranks; ``downloads`` and ``files``, none; ``world``, the number of ranks;
            ``version``, as far as it is known; ``sees``, whether it is to be asked about a picture.
        :raises ServeError: when something is wrong that would only show minutes into a start.
        """
        if not asked.members:
            raise ServeError("there is no node to serve on: the group of Sparks is empty")
        check_api_host(asked.api_host)
        if problem := image_problem(asked.image, self.name, self.title):
            raise ServeError(problem)
        found = list(self.parser.findings(asked.arguments, asked.told))
        wrong = [one.text for one in found if one.refused]
        wrong += [*self.environment_problems(asked.environment), *self.split_problems(asked)]
        wrong += self.more_problems(asked)
        if wrong:
            raise ServeError("; ".join(wrong))
        overhead = self.overhead_mib(asked)
        return {
            "doubts": [*(one.text for one in found if not one.refused), *self.more_doubts(asked)],
            "name": self.name,
            "title": self.title,
            "settings": {
                "name": self.name,
                "fit_kv_cache": all(self.parser.said(asked.arguments, one) is None for one in self.memory),
                "min_kv_tokens": asked.min_kv_tokens,
                **({"overhead_mib": overhead} if overhead else {}),
            },
            "serve": self.command(asked),
            "environment": {**self.environment, **as_text(asked.environment)},
            "files": {},
            "downloads": [],
            "world": self.world(asked.arguments),
            "version": asked.told_version or self.version_of(asked.image),
            "sees": {"auto": sees(asked.config), "always": True, "never": False}[asked.vision],
        }

    def version_of(self, image: str) -> str:
        """The version that the tag of an image tells; empty where it has none, or is somebody else's version."""
        found = self.image.fullmatch(image.partition("@")[0])
        return found["version"] if found else ""

    def environment_problems(self, said: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with the variables that a person sets. No value is told, since it may be a secret."""
        return problems(f"{self.name}_serve_environment", said, self.owned)

    def command(self, asked: Request) -> list[str]:
        """The command line, as it is equal on all nodes. :raises ServeError: where containers do not see the model."""
        model = inside(contract.MODEL_DIR, asked.snapshot, asked.repo_dir)
        own = {name: value for name, value in asked.arguments.items() if value is not None}
        beneath = self.beneath(asked).items()
        unsaid = {name: value for name, value in beneath if self.parser.said(own, name) is None}
        whole_line = self.completed({**unsaid, **own}, asked)
        return [*self.program(model), *self.parser.render(whole_line, asked.told)]

    def world(self, arguments: Mapping[str, Any]) -> int:
        """The number of ranks that the sizes make."""
        number = 1
        for name in self.sizes:
            number *= whole(self.parser.said(arguments, name), 1)
        return number

    def split_problems(self, asked: Request) -> list[str]:
        """Why a model cannot be split as asked, or over these Sparks."""
        option, instead = (name.replace("-", "_") for name in self.sizes[:2])
        ways = whole(self.parser.said(asked.arguments, self.sizes[0]), 1)
        heads = heads_problem(asked.config, ways, option, instead) if ways > 0 else ""
        ranks = self.world(asked.arguments)
        if heads or ranks == len(asked.members):
            return [heads] if heads else []
        there = f"there are {len(asked.members)} Sparks with one GPU each: make them equal"
        return [f"{option} x {instead} is {ranks}, but {there}"]


def patience_s(asked: Request) -> int:
    """Seconds that a rank waits for its peers, and for one that loads more slowly: what that takes, and no less."""
    return PATIENCE_S + asked.model_bytes // max(len(asked.members), 1) // PATIENCE_BYTES
