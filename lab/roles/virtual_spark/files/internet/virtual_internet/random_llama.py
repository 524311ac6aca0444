# SIMULATED: part of the lab's stand-in for the internet, not the Hugging Face hub.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a model that a real engine loads: a tiny Llama of random weights, the same ones every time.

    python3 -m virtual_internet.random_llama FOLDER

Writes `config.json`, `tokenizer.json`, `tokenizer_config.json` and `model.safetensors`, 6 MB. It says nothing that
means anything, and says it in ASCII: half a character would be no text.
"""

from __future__ import annotations

import hashlib
import json
import string
import sys
from pathlib import Path
from typing import Any

_NOTE = "SIMULATED: made by the lab's stand-in for the internet; a real Llama's shape, with random weights"
SPECIAL = ("<unk>", "<s>", "</s>")
#: in a vocabulary of bytes, a space and the end of a line are written as other letters
LETTERS = [*string.ascii_letters, *string.digits, *string.punctuation, "\u0120", "\u010a"]
HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, HEAD = 256, 704, 4, 4, 2, 64
TEMPLATE = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }}\n{% endfor %}"
#: of a bfloat16: sign and the upper bits of the exponent, so that each weight is between 0.0078 and 0.031
_SMALL = bytes(0x3C | (one & 0x80) for one in range(256))


def vocabulary() -> dict[str, int]:
    """Every token of one letter, by number."""
    return {token: number for number, token in enumerate([*SPECIAL, *LETTERS])}


def shapes() -> dict[str, list[int]]:
    """The shape of each weight, by name."""
    found = {"model.embed_tokens.weight": [len(vocabulary()), HIDDEN], "model.norm.weight": [HIDDEN]}
    for layer in range(LAYERS):
        begin = f"model.layers.{layer}"
        found.update(
            {
                f"{begin}.self_attn.q_proj.weight": [HEADS * HEAD, HIDDEN],
                f"{begin}.self_attn.k_proj.weight": [KV_HEADS * HEAD, HIDDEN],
                f"{begin}.self_attn.v_proj.weight": [KV_HEADS * HEAD, HIDDEN],
                f"{begin}.self_attn.o_proj.weight": [HIDDEN, HEADS * HEAD],
                f"{begin}.mlp.gate_proj.weight": [INNER, HIDDEN],
                f"{begin}.mlp.up_proj.weight": [INNER, HIDDEN],
                f"{begin}.mlp.down_proj.weight": [HIDDEN, INNER],
                f"{begin}.input_layernorm.weight": [HIDDEN],
                f"{begin}.post_attention_layernorm.weight": [HIDDEN],
            }
        )
    return found


def weights(count: int, seed: str) -> bytes:
    """So many small bfloat16 of either sign, which depend on the seed alone."""
    noise = hashlib.shake_128(seed.encode()).digest(2 * count)
    made = bytearray(2 * count)
    made[0::2] = noise[:count]
    made[1::2] = noise[count:].translate(_SMALL)
    return bytes(made)


def write_weights(path: Path) -> None:
    """Write all weights as one safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "note": _NOTE}}
    place, parts = 0, []
    for name, shape in sorted(shapes().items()):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        parts.append(weights(count, name) if len(shape) > 1 else b"\x80\x3f" * count)  # a norm's are 1
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [place, place + 2 * count]}
        place += 2 * count
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(b"".join([len(head).to_bytes(8, "little"), head, *parts]))


def config() -> dict[str, Any]:
    """The model's `config.json`."""
    return {
        "_comment": _NOTE,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(vocabulary()),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }


def tokenizer() -> dict[str, Any]:
    """The model's `tokenizer.json`: each byte of ASCII is a token, any other is unknown."""
    special = [
        {"id": number, "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number, token in enumerate(SPECIAL)
    ]
    bytes_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": bytes_level,
        "post_processor": None,
        "decoder": bytes_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": SPECIAL[0],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary(),
            "merges": [],
        },
    }


def write(folder: Path) -> None:
    """Write the model's files."""
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096, "chat_template": TEMPLATE}
    for name, value in (
        ("config.json", config()),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", {"_comment": _NOTE, **named, **about}),
        ("generation_config.json", {"_comment": _NOTE, "bos_token_id": 1, "eos_token_id": 2}),
    ):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    write_weights(folder / "model.safetensors")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
