# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of TensorRT-LLM for one model: command line, YAML and environment. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Iterable, Mapping, Protocol, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_issues as issues
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_speculative as speculative
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError, check_api_host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.findings import Finding
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_names import image_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.of_model import (
    heads_problem,
    inside,
    mapping,
    merged,
    sees,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import FLAGS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_environment import (
    environment,
    environment_problems,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    TRANSCRIBED,
    Image,
    arguments_findings,
    autodeploy_findings,
    dead_findings,
    flatten,
    image_of,
    is_autodeploy,
    metrics_follow,
    options_findings,
    parse_version,
    placed,
    render,
    role_findings,
    size,
    told_flags,
    version_of,
    whole,
    without_nulls,
)

NAME, TITLE = "trtllm", "TensorRT-LLM"
OPTIONS_FILE = "llm.yml"

#: what the options leave open, and the engine's own defaults would get wrong: 0.9 of a memory that the system shares is
#: too much, without the statistics the supervisor takes a busy engine for a dead one, and without return_perf_metrics
#: there is no /prometheus/metrics: people would read /metrics, which the supervisor needs and each reading empties
DEFAULTS: dict[str, Any] = {
    "enable_iter_perf_stats": True,
    "return_perf_metrics": True,
    "kv_cache_config": {"free_gpu_memory_fraction": 0.8},
}


class Schema(Protocol):
    """What an image itself says of its options; ``trtllm_schema.Schema``, which only a controller has."""

    def takes(self, key: str) -> bool:
        """Whether there is such a key."""

    def without_nulls(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options without what is null and cannot be."""

    def findings(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """What is wrong with the options. :raises ValueError: where the schema cannot tell."""


@dataclass(frozen=True)
class Request:
    """What a person asks of TensorRT-LLM."""

    members: Sequence[str]  # leader first
    snapshot: str  # path of the pinned commit below repo_dir, both on the hosts
    repo_dir: str
    options: Mapping[str, Any] = field(default_factory=dict)  # the YAML of --extra_llm_api_options
    arguments: Mapping[str, Any] = field(default_factory=dict)  # flags of trtllm-serve without dashes
    api_host: str = "127.0.0.1"
    api_port: int = 8355
    image: str = ""  # whose tag tells the version, unless version does
    version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # the model's config.json, empty where it is not known
    encodings: Mapping[str, str] = field(default_factory=dict)  # SHA-256 by file name of gpt-oss's vocabularies
    encodings_url: str = ""
    min_kv_tokens: int = 0  # that must fit into the KV cache
    environment: Mapping[str, Any] = field(default_factory=dict)  # of all ranks, beside what the role sets
    facts: Mapping[str, Any] = field(default_factory=dict)  # as trtllm_image_info returns them, empty without the image
    schema: Schema | None = None  # made of these, where they have one
    entry: Mapping[str, Any] = field(default_factory=dict)  # of the catalogue: what is beneath all that was said
    vision: str = "auto"  # whether the model takes pictures: by its config.json, always or never
    speculation: speculative.Speculation | None = None  # by what tokens are guessed
    draft: Mapping[str, Any] = field(default_factory=dict)  # the model that guesses: snapshot and repo_dir on the hosts


def plan(asked: Request) -> dict[str, Any]:
    """The engine's part of a serving's plan.

    :returns: ``doubts``, a sentence for each setting that only the engine can judge; ``said``, the flags and keys that
        somebody or the catalogue has said; ``name`` and ``title``; ``settings`` for ``cluster.json``; ``serve``, the
        command line; ``environment`` of all ranks; ``options``, the YAML of :data:`OPTIONS_FILE`; ``downloads``, each
        ``name``, ``url`` and ``sha256``; ``world``, the number of ranks; ``version``, as far as it is known;
        ``judged``, by what the options and the arguments were; ``sees``, whether it is to be asked about a picture.
    :raises ServeError: when something is wrong that would only show minutes into a start.
    """
    if not asked.members:
        raise ServeError("there is no node to serve on: the group of Sparks is empty")
    if problem := image_problem(asked.image, NAME, TITLE):
        raise ServeError(problem)
    version, known = versions(asked)
    image = image_of(version)
    asked, left_out = with_entry(asked, image)
    said = without_nulls(asked.options)
    said = asked.schema.without_nulls(said) if asked.schema else said
    said, under = speculating(asked, said, known)
    options = merged(merged(defaults(asked, known), under), said)
    judged = judge(asked, options, image)
    problems = judged.problems() or _split_problems(asked, options)
    if problems:
        raise ServeError("; ".join(problems))
    harmony = asked.config.get("model_type") == "gpt_oss"
    return {
        "doubts": [*left_out, *judged.doubts(), *issues.warnings(known, _serving(asked, options))],
        "name": NAME,
        "title": TITLE,
        "settings": {
            "name": NAME,
            "metrics_follow": metrics_follow(known, asked.image),
            "fit_kv_cache": "free_gpu_memory_fraction" not in mapping(said.get("kv_cache_config")),
            "min_kv_tokens": asked.min_kv_tokens,
        },
        "serve": command(asked),
        "environment": environment(asked.environment, harmony),
        "options": options,
        "said": {"arguments": dict(asked.arguments), "options": said},
        "downloads": downloads(asked) if harmony else [],
        "world": world(asked.arguments, options),
        "version": version,
        "judged": judged.by,
        "sees": {
            "auto": sees(asked.config) and options.get("disable_mm_encoder") is not True,
            "always": True,
            "never": False,
        }[asked.vision],
    }


def versions(asked: Request) -> tuple[str, str]:
    """The version to check by, as somebody says, the image itself or its tag, and what it is where that may be any."""
    said = [asked.version, str(asked.facts.get("version") or ""), version_of(asked.image)]
    return next((one for one in said if one), ""), next((one for one in said if parse_version(one)), "")


def defaults(asked: Request, version: str) -> dict[str, Any]:
    """What the options leave open, as far as the image takes it."""
    found = dict(DEFAULTS)
    number = parse_version(version)
    takes = asked.schema.takes("return_perf_metrics") if asked.schema else number is None or number >= TRANSCRIBED
    if not takes:
        del found["return_perf_metrics"]
    if issues.needs_nccl(version, len(asked.members)) and not is_autodeploy(asked.arguments, asked.options):
        found["allreduce_strategy"] = "NCCL"
    return found


def speculating(asked: Request, said: dict[str, Any], version: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options with how tokens are guessed, and what has to be so beneath all options then.

    :raises ServeError: where the options say it too, or the model that guesses is not known.
    """
    one = asked.speculation
    if one is None:
        return said, {}
    if speculative.CONFIG in said:
        raise ServeError(
            f"{speculative.CONFIG} is in trtllm_serve_options, or in the options that spark_models has for this model, "
            "and spark_speculative says how tokens are guessed, too: leave one of the two out"
        )
    place = ""
    if one.handle:
        absent = [name for name in ("snapshot", "repo_dir") if not isinstance(asked.draft.get(name), str)]
        if absent:
            raise ServeError(
                f"spark_speculative asks for {one.handle} to guess tokens, and nothing tells where that is: have the "
                "role hf_cache bring it (hf_cache_beside), or add it to beside of trtllm_serve_model, with repo, "
                "snapshot, repo_dir and bytes"
            )
        place = inside(contract.DRAFT_DIR, asked.draft["snapshot"], asked.draft["repo_dir"])
    config = speculative.render(one, version, place, asked.schema.takes if asked.schema else None)
    return {**said, speculative.CONFIG: config}, speculative.beneath(one, version, asked.schema is not None)


def _serving(asked: Request, options: Mapping[str, Any]) -> issues.Serving:
    name = asked.repo_dir.rstrip("/").rpartition("/")[2]
    return issues.Serving(asked.config, name, options, asked.arguments, len(asked.members))


@dataclass
class Judged:
    """What was found, and by what: ``schema`` or ``help`` of the image, ``tables``, or ``nothing``."""

    why: str  # tables were asked, where they were
    by: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    by_tables: set[Finding] = field(default_factory=set)

    def add(self, findings: Iterable[Finding], part: str = "", by: str = "") -> None:
        """Add what was found in a part."""
        found = list(findings)
        self.findings += found
        if part:
            self.by[part] = by
        if by == "tables":
            self.by_tables.update(found)

    def problems(self) -> list[str]:
        """What is refused; the last one says where tables alone judged."""
        refused = [one for one in self.findings if one.refused]
        by_tables = bool(self.by_tables.intersection(refused))
        texts = [one.text for one in refused]
        return [*texts[:-1], f"{texts[-1]} ({self.why})"] if by_tables else texts

    def doubts(self) -> list[str]:
        """What is doubtful, and where tables alone judged."""
        return [
            f"{one.text} ({self.why})" if one in self.by_tables else one.text
            for one in self.findings
            if not one.refused
        ]


def judge(asked: Request, options: Mapping[str, Any], image: Image) -> Judged:
    """Judge all that was asked for: by what the image says of itself, and where it does not, by the tables."""
    absent = "the image does not tell" if asked.facts else "the image is not on the leader yet"
    judged = Judged(f"judged by tables alone: {absent}")
    if is_autodeploy(asked.arguments, options):
        judged.add(autodeploy_findings(asked.arguments, options), "options", "nothing")
    else:
        try:
            judged.add(asked.schema.findings(options) if asked.schema else (), "options", "schema")
        except ValueError:
            judged.by.clear()
        if not asked.schema or not judged.by:
            judged.add(options_findings(options, image), "options", "tables")
            judged.add(dead_findings(asked.options, image))
    judged.add(role_findings(options))
    told = told_flags(asked.facts.get("flags") or {})
    found = arguments_findings(asked.arguments, options, image, told)
    judged.add(found, "arguments", "help" if told else "tables")
    judged.add(map(Finding, environment_problems(asked.environment)))
    return judged


def with_entry(asked: Request, image: Image) -> tuple[Request, list[str]]:
    """What was asked for over what the catalogue has for this model, and what of that the image may not take.

    What a person has said wins, by whichever spelling, and a null leaves out. Nothing of the catalogue ends a start:
    what this image's version is not known to take is left out.
    """
    own = [FLAGS[name].option if name in FLAGS else name for name in asked.arguments]
    arguments: dict[str, Any] = {}
    options: dict[str, Any] = {}
    doubts: list[str] = []
    nothing = replace(asked, arguments={}, options={}, environment={})
    for name, value in mapping(asked.entry.get("arguments")).items():
        findings = judge(replace(nothing, arguments={name: value}), {}, image).findings
        if not findings:
            arguments.update({} if name in FLAGS and FLAGS[name].option in own else {name: value})
        doubts += [_left_out(name, findings[0])] if findings else []
    for key, value in flatten(mapping(asked.entry.get("options"))):
        nested = _nested(key, value)
        findings = judge(replace(nothing, options=nested), nested, image).findings
        options = options if findings else merged(options, nested)
        doubts += [_left_out(placed(key), findings[0])] if findings else []
    said = replace(
        asked,
        arguments={**arguments, **asked.arguments},
        options=merged(options, asked.options),
        environment={**mapping(asked.entry.get("environment")), **asked.environment},
    )
    return said, doubts


def _nested(key: str, value: Any) -> dict[str, Any]:
    """A dotted key as the nested mappings that it stands for.

    >>> _nested("kv_cache_config.dtype", "fp8")
    {'kv_cache_config': {'dtype': 'fp8'}}
    """
    name, _dot, rest = key.partition(".")
    return {name: _nested(rest, value) if rest else value}


def _left_out(name: str, finding: Finding) -> str:
    return f"{name}, which the catalogue has for this model, is left out: {finding.text}"


def world(arguments: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """The number of ranks that the sizes make."""
    if is_autodeploy(arguments, options):
        return whole(1 if options.get("world_size") is None else options["world_size"])
    number = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "context_parallel_size"):
        number *= size(name, arguments, options)
    return number


def _split_problems(asked: Request, options: Mapping[str, Any]) -> list[str]:
    ways = size("tensor_parallel_size", asked.arguments, options)
    heads = heads_problem(asked.config, ways, "tp_size", "pp_size") if ways > 0 else ""
    ranks = world(asked.arguments, options)
    if heads or ranks == len(asked.members):
        return [heads] if heads else []
    what = "world_size" if is_autodeploy(asked.arguments, options) else "tp_size x pp_size x cp_size"
    return [f"{what} is {ranks}, but there are {len(asked.members)} Sparks with one GPU each: make them equal"]


def command(asked: Request) -> list[str]:
    """The command line of trtllm-serve.

    :raises ServeError: when the model is not where containers see it, or there is no such address.
    """
    model = inside(contract.MODEL_DIR, asked.snapshot, asked.repo_dir)
    check_api_host(asked.api_host)
    return [
        "trtllm-serve",
        model,
        *render(asked.arguments),
        *("--host", asked.api_host, "--port", str(asked.api_port)),
        *("--extra_llm_api_options", f"{contract.CONFIG_DIR}/{OPTIONS_FILE}"),
    ]


def downloads(asked: Request) -> list[dict[str, str]]:
    """The vocabularies of gpt-oss, which its repository does not have."""
    return [
        {"name": name, "url": f"{asked.encodings_url}/{name}", "sha256": digest}
        for name, digest in asked.encodings.items()
    ]
