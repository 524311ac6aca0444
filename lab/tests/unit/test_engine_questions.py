# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Easy questions are answered by rules, spoilt where that was asked for; and the two example programs of NVIDIA's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from engine_support import ENGINE, a_node, load, write_model
from test_engine_pictures import png

answers, engine, faults, node, solver = (
    load(f"simulation.{name}") for name in ("answers", "engine", "faults", "node", "solver")
)
EXAMPLES = ENGINE / "examples" / "llm-api"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("What is 12 plus 30?", "42"),
        ("What is 12 minus 30?", "-18"),
        ("What is 6 times 7? Reply with the number alone, in digits.", "42"),
        ("What is 7 divided by 2?", "3.5"),
        ("What is 7 divided by 0?", ""),
        ("Work out (1 + 2) * (3 + 4).", "21"),
        ("What is 2+2?", "4"),
        ("What is the remainder when 17 is divided by 5?", "2"),
        ("What is 10 percent of 50?", "5"),
        ("There are 3 boxes with 5 eggs each. 2 eggs are broken. How many are left?", "13"),
        ("How many minutes are in 3 hours?", "180"),
        ("How many hours are in 2 days?", "48"),
        ("Write two thousand and forty-one as a number.", "2041"),
        ("What is the capital of Norway?", "Oslo"),
        ("What is the capital of Atlantis?", ""),
        ("Which day comes right before Monday?", "Sunday"),
        ('Write the word "bread" in capital letters.', "BREAD"),
        ('Spell "bread" backwards.', "daerb"),
        ('What is the first letter of the word "bread"?', "b"),
        ("Put these words into alphabetical order: c, a, b.", "a, b, c"),
        ("Question: What is 1 plus 1?\nAnswer: 2\nQuestion: What is 2 plus 3?\nAnswer:", "5"),
        ("Who are you? Answer in one sentence.", ""),
        ("My name is", ""),
        ("Say ok.", ""),
    ],
)
def test_a_question_is_answered_by_rules_or_not_at_all(asked: str, answer: str) -> None:
    assert solver.solve(asked) == answer


def test_an_answer_says_that_it_is_simulated_and_is_the_same_each_time() -> None:
    one = answers.answer("nonce1", 1, 2, "spark2", "What is 6 times 7?")
    assert one == answers.answer("nonce2", 0, 1, "spark1", "What is 6 times 7?")
    assert (one.startswith("SIMULATED"), one.endswith(": 42")) == (True, True)
    assert "Rank 1 of 2, on spark2" in answers.answer("nonce1", 1, 2, "spark2", "Who are you?")


@pytest.mark.parametrize(("text", "spoilt"), [("42", "75"), ("Oslo", "Vzsv"), ("-1, b", "-4, i")])
def test_what_is_spoilt_keeps_its_form(text: str, spoilt: str) -> None:
    assert solver.spoil(text) == spoilt


def test_the_last_rank_spoils_what_it_works_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_FAULTS", str(tmp_path))
    solo = engine.SoloEngine(a_node(node.Alone()))
    said = [answers.answer(solo.step("one", True), 0, 1, "here", "What is 6 times 7?")]
    (tmp_path / faults.SPOIL_ANSWERS).touch()
    said.append(answers.answer(solo.step("two", True), 0, 1, "here", "What is 6 times 7?"))
    assert [text.rpartition(": ")[2] for text in said] == ["42", "75"]


# --- NVIDIA's example programs ----------------------------------------------------------------------------------------


class Machine:
    """Where the programs run: with one GPU, and a model."""

    def __init__(self, folder: Path) -> None:
        tools = folder / "bin"
        tools.mkdir()
        (tools / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GB10 (UUID: GPU-1)'\n")
        (tools / "nvidia-smi").chmod(0o755)
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.model = write_model(folder / "model", model_type="phi4mm")
        self.picture = folder / "it.png"
        self.picture.write_bytes(png(30, 20))
        self.environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "PYTHONPATH": str(ENGINE),
            "VIRTUAL_SPARK_ENGINE_FAULTS": str(self.faults),
            "VIRTUAL_SPARK_ENGINE_LOAD_SECONDS": "0",
        }

    def __call__(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, str(EXAMPLES / program), "--model_dir", str(self.model), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, env=self.environment, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_text_example_generates_as_many_words_as_were_asked_for(machine: Machine) -> None:
    done = machine("quickstart_advanced.py", "--prompt", "Paris is", "--max_tokens", "3", "--kv_cache_fraction", "0.2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[0] Prompt: 'Paris is', Generated text: 'a virtual Spark'"
    assert "SIMULATED" in done.stdout


def test_the_picture_example_reads_its_picture(machine: Machine) -> None:
    done = machine("quickstart_multimodal.py", "--media", str(machine.picture), "--prompt", "What is it?")
    assert done.returncode == 0, done.stderr
    assert "Generated text: 'It is a picture of 30 x 20 pixels: SIMULATED" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--media", "{none}"], "No such file"),
        (["--media", "{model}/config.json"], "cannot identify image file"),
        (["--media", "{picture}", "--load_lora"], "Please provide the auto model name"),
        (["--media", "{picture}", "--model_type", "mistral9"], "invalid choice"),
        ([], "--media"),
    ],
)
def test_what_the_picture_example_cannot_use_is_refused(machine: Machine, arguments: list[str], says: str) -> None:
    places = {"none": "/none.png", "model": machine.model, "picture": machine.picture}
    done = machine("quickstart_multimodal.py", *[one.format(**places) for one in arguments])
    assert done.returncode != 0
    assert says in done.stderr


def test_a_model_of_another_kind_or_without_a_file_is_refused(machine: Machine) -> None:
    next(machine.model.glob("*.safetensors")).unlink()
    done = machine("quickstart_advanced.py")
    assert done.returncode != 0
    assert "is missing" in done.stderr
    write_model(machine.model, model_type="gpt2")
    done = machine("quickstart_multimodal.py", "--media", str(machine.picture))
    assert "Unsupported model_type: gpt2" in done.stderr


def test_a_fault_leaves_the_text_empty(machine: Machine) -> None:
    (machine.faults / faults.NO_TEXT).touch()
    done = machine("quickstart_advanced.py", "--prompt", "Paris is")
    assert done.stdout.splitlines()[-1] == "[0] Prompt: 'Paris is', Generated text: ''"


def test_what_the_stand_in_knows_is_said_to_be_simulated() -> None:
    world = json.loads((ENGINE / "tensorrt_llm" / "simulation" / "facts" / "world.json").read_text())
    assert "SIMULATED" in world
