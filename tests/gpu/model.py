# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small model without weights, for ``--load-format dummy``: nothing has to be downloaded.

Its tokens are ASCII's letters, digits and signs, and all pairs of small letters, so that each is a text of its own: of
random weights, others would make half characters, which are no text.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

SPECIAL = ["<unk>", "<s>", "</s>"]
SPACE, LINE = "\u0120", "\u010a"  # as byte-level tokens are written
TEMPLATE = "{% for one in messages %}{{ one['content'] }}{% endfor %}"
LENGTH = 32768  # tokens


def tokenizer() -> dict[str, Any]:
    """``tokenizer.json`` of the library ``tokenizers``."""
    signs = [one for one in string.printable if one.isprintable() and one != " "]
    pairs = [(one, other) for one in string.ascii_lowercase for other in string.ascii_lowercase]
    words = [*SPECIAL, *signs, SPACE, LINE, *(one + other for one, other in pairs)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {"id": number, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for number, word in enumerate(SPECIAL)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**one, "special": True} for one in added],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": SPECIAL[0],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [f"{one} {other}" for one, other in pairs],
        },
    }


def config(layers: int, hidden: int, vocabulary: int, dtype: str) -> dict[str, Any]:
    """``config.json`` of a Qwen3 of this size, with heads of 64."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 128,
        "head_dim": 64,
        "max_position_embeddings": LENGTH,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
        "dtype": dtype,
    }


def write(folder: Path, layers: int, hidden: int, dtype: str) -> dict[str, Any]:
    """Write the model's files. Returns its ``config.json``."""
    folder.mkdir(parents=True)
    words = tokenizer()
    found = config(layers, hidden, len(words["model"]["vocab"]), dtype)
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": LENGTH,
        "chat_template": TEMPLATE,
    }
    for name, content in (("tokenizer", words), ("config", found), ("tokenizer_config", about)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return found
