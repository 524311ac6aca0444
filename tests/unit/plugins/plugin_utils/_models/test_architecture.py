# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What public architectures keep of a sequence, by the table that is compared with an independent implementation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import architecture, fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.architecture import ArchitectureError
from damaged import values
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import model_fit

PAGE = (Path(__file__).parents[5] / "docs" / "models_fit.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1:] for row in (line[2:-2].split(" | ") for line in PAGE.splitlines() if re.match(r"\| \w", line))}
ROWS.pop("architecture")
CONFIGS = {path.stem: json.loads(path.read_text()) for path in sorted(model_fit.CONFIGS.glob("*.json"))}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_page_has_what_the_formulas_say(name: str) -> None:
    assert [model_fit.told(model_fit.ours(CONFIGS[name], *asked)) for asked in model_fit.ASKED] == ROWS[name][::2]


def test_the_page_says_why_figures_differ() -> None:
    assert set(ROWS) == set(CONFIGS)
    compared = {name for name, row in ROWS.items() if "not known" not in row}
    differing = {name for name in CONFIGS if ROWS[name][::2] != ROWS[name][1::2]}
    assert len(compared) >= 12
    assert len(compared - differing) >= 12
    why = PAGE.partition("Where they differ:")[2]
    assert [name for name in differing if name not in why] == []


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("gpt-oss-120b", "sf" * 18),
        ("gemma-2-27b", "sf" * 23),
        ("gemma-3-27b", "sssssf" * 10 + "ss"),
        ("gemma-4-31b", "sssssf" * 10),
        ("llama-4-scout", "sssf" * 12),
        ("qwen2-window", "f" * 20 + "s" * 8),
        ("qwen3-next-80b-a3b", "cccf" * 12),
        ("nemotron-super-49b", "ffffff--fff-" + "f" * 30 + "-" * 10 + "f" + "-" * 18 + "f" * 9),
        ("mistral-7b-v0.1", "s" * 32),
        ("phi-4", "f" * 40),
        ("deepseek-v3", "l" * 61),
    ],
)
def test_which_layer_is_what(name: str, layers: str) -> None:
    """s slides, f is full, c has a state, l is latent, and - keeps nothing."""

    def letter(one: architecture.Layer) -> str:
        if one.heads:
            return "s" if one.window else "f"
        return "l" if one.latent else "c" if one.kernel else "-"

    assert "".join(map(letter, architecture.read(CONFIGS[name]).layers)) == layers


def test_a_window_beyond_the_context_hides_nothing() -> None:
    """As Phi-4-multimodal has one."""
    config = {**CONFIGS["phi-4"], "sliding_window": 262144}
    assert architecture.read(config) == architecture.read(CONFIGS["phi-4"])


def test_figures_that_transformers_takes_for_granted_may_be_left_out() -> None:
    """As in the config.json of Gemma 3 12B, whose heads are wider than hidden_size tells."""
    part = {"model_type": "gemma3_text", "hidden_size": 3840, "num_attention_heads": 16, "num_hidden_layers": 48}
    layer = architecture.read({"text_config": {**part, "num_key_value_heads": 8}}).layers[5]
    assert (layer.heads, layer.width, layer.window) == (8, 2 * 256, 0)


def test_layers_that_read_anothers_cache_keep_none() -> None:
    config = {**CONFIGS["gemma-4-31b"]["text_config"], "num_kv_shared_layers": 20}
    layers = architecture.read(config).layers
    assert [bool(one.heads) for one in layers] == [True] * 40 + [False] * 20


@pytest.mark.parametrize(
    ("quantised", "bits"),
    [
        (None, 16),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float"}}, 8),
        ({"kv_cache_scheme": None}, 16),
        ({"kv_cache_quant_algo": "FP8"}, 8),
    ],
)
def test_a_checkpoint_may_ask_for_a_smaller_cache(quantised: Any, bits: float) -> None:
    assert architecture.read({**CONFIGS["phi-4"], "quantization_config": quantised}).kv_bits == bits


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model_type": None}, "the architecture that config.json does not name"),
        ({"model_type": "deepseek_v4"}, "the architecture deepseek_v4"),
        ({"num_hidden_layers": None}, "num_hidden_layers of its config.json is None and no number"),
        ({"num_attention_heads": 0, "num_key_value_heads": 0}, "tells no KV heads"),
        ({"layer_types": ["full_attention"]}, "layer_types of its config.json names 1 layers of 40"),
        ({"layer_types": ["lightning_attention"] * 40}, "a layer of the type lightning_attention keeps"),
        ({"model_type": "nemotron_h"}, "no hybrid_override_pattern"),
        ({"model_type": "nemotron-nas"}, "not one of block_configs for each layer"),
        ({"model_type": "nemotron-nas", "block_configs": [{}] * 40}, "does not tell its attention"),
        ({"model_type": "deepseek_v3"}, "kv_lora_rank of its config.json is None"),
    ],
)
def test_what_is_not_known_is_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        architecture.read({**CONFIGS["phi-4"], **changed})
    assert says in str(error.value)


@given(st.data(), st.sampled_from(sorted(CONFIGS)))
def test_a_damaged_config_is_a_doubt_and_no_bare_error(data: st.DataObject, name: str) -> None:
    """The hub's files are others': whatever stands in them, a plan can say what it makes of it."""
    config = data.draw(values(CONFIGS[name]))
    need = fit.demand(config if isinstance(config, dict) else {}, [], 10**10, fit.Setting(tp=2, pp=2, graphs=3))
    said = fit.judge(need, {f"spark{one}": 122_880 for one in range(4)})
    assert (said.answer == fit.CANNOT_TELL) >= bool(need.doubts)
    assert need.kv_known or need.doubts


@pytest.mark.parametrize("marker", ["X", "MEX*"])
def test_a_layer_of_a_pattern_that_is_not_known_is_named(marker: str) -> None:
    config = {**CONFIGS["nemotron-3-nano-30b"], "hybrid_override_pattern": marker}
    with pytest.raises(ArchitectureError, match="a layer of the type 'X' keeps"):
        architecture.read(config)
