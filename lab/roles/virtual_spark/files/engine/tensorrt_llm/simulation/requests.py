# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of the OpenAI-like API: which fields they may have, as TensorRT-LLM's ``openai_protocol.py`` lists them."""

from __future__ import annotations

from typing import Any

_SAMPLING = (
    "add_special_tokens best_of conversation_params disaggregated_params early_stopping echo "
    "frequency_penalty ignore_eos include_stop_str_in_output length_penalty logit_bias logprobs "
    "lora_request max_tokens min_p min_tokens model n presence_penalty priority prompt_ignore_length "
    "repetition_penalty response_format seed skip_special_tokens spaces_between_special_tokens stop "
    "stop_token_ids stream stream_options temperature thinking_token_budget top_k top_p top_p_min "
    "truncate_prompt_tokens use_beam_search user"
)
_CHAT = (
    "add_generation_prompt agent_hierarchy cache_salt chat_template chat_template_kwargs documents "
    "injected_chat_template_kwargs max_completion_tokens media_io_kwargs messages mm_processor_kwargs "
    "parallel_tool_calls prompt_token_ids prompt_token_ids_b64 reasoning_effort thinking tool_choice "
    "tools top_logprobs"
)
_COMPLETION = ["detokenize", "prompt", "return_context_logits", "suffix"]
FIELDS = {
    "chat": frozenset([*_SAMPLING.split(), *_CHAT.split()]),
    "completion": frozenset([*_SAMPLING.split(), *_COMPLETION]),
}
_REQUIRED = {"chat": ("messages", "model"), "completion": ("model", "prompt")}
_KINDS: dict[str, tuple[type, ...]] = {
    "ignore_eos": (bool,),
    "max_completion_tokens": (int,),
    "max_tokens": (int,),
    "messages": (list,),
    "min_tokens": (int,),
    "model": (str,),
    "prompt": (str, list),
    "stream": (bool,),
    "stream_options": (dict,),
}


class BadRequestError(ValueError):
    """What FastAPI would refuse a body with."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        plural = "s" if len(errors) > 1 else ""
        super().__init__("\n  ".join([f"{len(errors)} validation error{plural}:", *map(str, errors)]))


def check(kind: str, body: Any) -> dict[str, Any]:
    """Refuse a body that lacks a field, has one too many, or one of the wrong kind."""
    if not isinstance(body, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise BadRequestError([{"type": "model_attributes_type", "loc": ("body",), "msg": message, "input": body}])
    errors: list[dict[str, Any]] = [
        {"type": "missing", "loc": ("body", name), "msg": "Field required", "input": body}
        for name in _REQUIRED[kind]
        if name not in body
    ]
    for name, value in body.items():
        if name not in FIELDS[kind]:
            message = "Extra inputs are not permitted"
            errors.append({"type": "extra_forbidden", "loc": ("body", name), "msg": message, "input": value})
        elif name in _KINDS and value is not None:
            kinds = _KINDS[name]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                word = {int: "integer", str: "string", bool: "boolean", list: "list", dict: "dictionary"}[kinds[0]]
                message = f"Input should be a valid {word}"
                about = {"type": f"{kinds[0].__name__}_type", "loc": ("body", name), "msg": message}
                errors.append({**about, "input": value})
    if errors:
        raise BadRequestError(errors)
    if body.get("stream_options") and not body.get("stream"):
        message = "Value error, Stream options can only be defined when stream is true."
        raise BadRequestError([{"type": "value_error", "loc": ("body",), "msg": message, "input": body}])
    return body


def texts(kind: str, body: dict[str, Any]) -> list[str]:
    """The prompts of a request: one for a chat, one for each prompt of a completion."""
    if kind == "completion":
        prompt = body["prompt"]
        if isinstance(prompt, str):
            return [prompt]
        if all(isinstance(one, int) for one in prompt):
            return [" ".join(map(str, prompt))]
        return [one if isinstance(one, str) else " ".join(map(str, one)) for one in prompt]
    said = []
    for message in body["messages"]:
        if not isinstance(message, dict) or "role" not in message:
            text = {"type": "missing", "loc": ("body", "messages", "role"), "msg": "Field required", "input": message}
            raise BadRequestError([text])
        content = message.get("content") or ""
        parts = [{"text": content}] if isinstance(content, str) else content
        said.append(" ".join([str(message["role"]), *(str(part.get("text", "")) for part in parts)]))
    return ["\n".join(said)]


def limit(body: dict[str, Any]) -> int | None:
    """How many tokens may be made."""
    return body.get("max_completion_tokens") or body.get("max_tokens")
