# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AIPerf for tests of the benchmark, as the playbook installs it, and a small tokenizer that is a real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .conftest import ROOT, Lab

TOKENIZER = """
import json, pathlib, sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
folder = pathlib.Path(sys.argv[1])
made = Tokenizer(models.BPE())
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
words = ["the cat and the dog have found that all was well when they came back to see where he had been"]
made.train_from_iterator(words, trainers.BpeTrainer(
    vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
folder.mkdir(parents=True)
made.save(str(folder / "tokenizer.json"))
about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
         "model_max_length": 131072}
(folder / "tokenizer_config.json").write_text(json.dumps(about))
"""


def installed(lab: Lab, scratch: Path) -> dict[str, str]:
    """Install it, unless BENCHMARK_CACHE names a directory that has it. Returns variables of the playbook."""
    folder = os.environ.get("BENCHMARK_CACHE") or str(scratch / "cache")
    tasks = [{"name": "It", "ansible.builtin.include_tasks": str(ROOT / "playbooks/tasks/benchmark_client.yml")}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    run = lab.play([play], benchmark_cache=folder)
    assert run.status == "successful", run.said
    made = scratch / "tokenizer" / "tiny"
    subprocess.run([f"{folder}/aiperf/bin/python", "-c", TOKENIZER, str(made)], check=True)
    return {"benchmark_cache": folder, "benchmark_tokenizer": str(made)}
