# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What validation asks, and what it makes of what it gets: pure functions."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import CHAT, COMPLETION
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import (
    exam,
    picture,
    quickstart,
    report,
    soak,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.questions import QUESTIONS
from hypothesis import given
from hypothesis import strategies as st

# --- the picture -----------------------------------------------------------------------------------------------------


def chunks(data: bytes) -> dict[bytes, bytes]:
    """The parts of a PNG file, whose check sums must be right."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    found, rest = {}, data[8:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        name, body, rest_sum = rest[4:8], rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", rest_sum)[0] == zlib.crc32(name + body)
        found[name], rest = body, rest[12 + length :]
    return found


def test_the_picture_is_a_png_with_a_house_and_a_sun() -> None:
    found = chunks(picture.png())
    assert list(found) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", found[b"IHDR"]) == (224, 224, 8, 2, 0, 0, 0)
    rows = zlib.decompress(found[b"IDAT"])
    assert len(rows) == 224 * (1 + 3 * 224)

    def pixel(x: int, y: int) -> tuple[int, ...]:
        at = y * (1 + 3 * 224) + 1 + 3 * x
        return tuple(rows[at : at + 3])

    assert (pixel(95, 150), pixel(95, 100), pixel(180, 45)) == (picture.WALL, picture.ROOF, picture.SUN)
    assert (pixel(0, 0), pixel(0, 223)) == (picture.SKY, picture.GRASS)
    assert len(picture.png()) < 20_000
    assert picture.png() == picture.png()


# --- NVIDIA's examples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "program", "has"),
    [
        ("text", "examples/llm-api/quickstart_advanced.py", []),
        (
            "vision",
            "examples/llm-api/quickstart_multimodal.py",
            ["--modality", "image", "--media", "/run/x/picture.png"],
        ),
        ("lora", "examples/llm-api/quickstart_multimodal.py", ["--model_type", "phi4mm", "--load_lora"]),
    ],
)
def test_an_example_is_called_as_nvidia_calls_it(kind: str, program: str, has: list[str]) -> None:
    argv = quickstart.command(kind, "/run/x", 64, ["--trust_remote_code"])
    assert argv[:4] == ["python3", program, "--model_dir", "{model}"]
    assert set(has) <= set(argv)
    assert ("--load_lora" in argv) is (kind == "lora")
    assert argv[-1] == "--trust_remote_code"
    assert argv[argv.index("--kv_cache_fraction") + 1] == "0.2", "0.9 of a memory that the system shares is too much"


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_text_is_what_python_printed(prompt: str, text: str) -> None:
    assert quickstart.generated([f"[0] Prompt: {prompt!r}, Generated text: {text!r}"]) == [text]


@pytest.mark.parametrize(
    "line", ["", "Generated text: 'x'", "[0] Prompt: 'x'", "[0] Prompt: 'x', Generated text: None"]
)
def test_other_lines_are_no_text(line: str) -> None:
    assert quickstart.generated([line]) == []


# --- the questions as requests ---------------------------------------------------------------------------------------


def test_questions_are_asked_greedily_and_without_a_system_prompt() -> None:
    for one in exam.requests("m", CHAT, 100, {}):
        body = one["body"]
        assert (body["temperature"], body["seed"], body["stream"], body["max_tokens"]) == (0, exam.SEED, True, 100)
        assert [message["role"] for message in body["messages"]] == ["user"]
        assert "chat_template_kwargs" not in body


def test_a_template_that_needs_a_system_prompt_or_arguments_gets_them() -> None:
    more = {"system": "detailed thinking off", "template": {"enable_thinking": False}}
    body = exam.requests("m", CHAT, 100, more)[0]["body"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_model_without_a_template_is_shown_what_is_wanted() -> None:
    body = exam.requests("m", COMPLETION, 100, {"system": "x", "template": {"a": 1}})[0]["body"]
    assert body["prompt"].count("Question: ") == 4
    assert body["prompt"].endswith("\nAnswer:")
    assert (body["stop"], body["max_tokens"]) == (["\n"], 64)
    assert not {"messages", "chat_template_kwargs"} & set(body)


# --- the score -------------------------------------------------------------------------------------------------------


def answers(wrong: int = 0, text: str = "no idea", **changes: Any) -> list[dict[str, Any]]:
    """Answers to all questions, some of them wrong."""
    return [
        {
            "id": one.id,
            "text": text if number < wrong else one.right[0],
            "thoughts": "",
            "finish": "stop",
            "tokens": 1,
            "gap_s": 0.1,
            "seconds": 0.1,
            "error": "",
            **changes,
        }
        for number, one in enumerate(QUESTIONS)
    ]


@pytest.mark.parametrize(("wrong", "score"), [(0, 100.0), (3, 85.0), (20, 0.0)])
def test_the_score_is_the_share_of_right_answers(wrong: int, score: float) -> None:
    graded = exam.graded(answers(wrong))
    assert exam.score(graded) == score
    assert len(exam.wrong(graded)) == wrong


def test_a_question_without_an_answer_is_wrong() -> None:
    graded = exam.graded(answers()[1:])
    assert exam.score(graded) == 95.0
    assert exam.wrong(graded) == [f"{QUESTIONS[0].text} Expected 834, got nothing"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"text": "381"}, "got '381'"),
        ({"text": "x" * 500}, f"got '{'x' * exam.SHOWN}…'"),
        ({"text": "", "thoughts": "Let me see", "finish": "length"}, "nothing but thoughts, cut at the most tokens"),
        ({"text": "<think>Let me", "finish": "stop"}, "got nothing but thoughts"),
        ({"text": "", "error": "no token for 60 s, after 0 tokens"}, "got no token for 60 s"),
    ],
)
def test_a_wrong_answer_is_shown_with_what_was_expected(changes: dict[str, Any], says: str) -> None:
    line = exam.wrong(exam.graded(answers(20, **changes)))[0]
    assert line.startswith("What is 478 plus 356? Reply with the number alone, in digits. Expected 834, got ")
    assert says in line


# --- two servings of one model ---------------------------------------------------------------------------------------

MODEL = {"repo": "a/b", "commit": "c0ffee"}


def earlier(**changes: Any) -> dict[str, Any]:
    """A report as it is read back from its file."""
    parts = {"accuracy": {"spark1": {"answers": exam.graded(answers())}}}
    made = report.report({"model": MODEL, "nodes": ["spark1"]}, ["accuracy"], parts, "then")
    return {**dict(json.loads(json.dumps(made))), **changes}


def test_equal_answers_have_no_differences() -> None:
    assert exam.differences(exam.graded(answers()), MODEL, earlier()) == []


def test_where_an_answer_differs_is_told() -> None:
    now = exam.graded(answers(1, text="83"))
    (found,) = exam.differences(now, MODEL, earlier())
    assert found == {
        "id": "sum",
        "what": "the text differs after 2 characters and so does whether it is right",
        "before": "834",
        "now": "83",
    }


def test_thoughts_are_compared_too() -> None:
    found = exam.differences(exam.graded(answers(thoughts="hm")), MODEL, earlier())
    assert {one["what"] for one in found} == {"the thoughts differ after 0 characters"}


def test_a_question_that_was_not_asked_then_is_told() -> None:
    before = earlier()
    del before["accuracy"]["answers"][0]
    before["accuracy"]["answers"][0]["question"] = "another"
    found = exam.differences(exam.graded(answers()), MODEL, before)
    assert [(one["id"], one["what"]) for one in found] == [
        (ident, "it was not asked then") for ident in ("sum", "product")
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": {"repo": "a/b", "commit": "other"}}, "it is of a/b@other, and a/b@c0ffee serves"),
        ({"model": None}, "it is no report"),
        ({"accuracy": {}}, "it is no report"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(exam.CompareError, match=says):
        exam.differences([], MODEL, earlier(**changes))


@given(st.text(max_size=9), st.text(max_size=9))
def test_texts_begin_alike_as_far_as_told(one: str, other: str) -> None:
    count = exam.common(one, other)
    assert one[:count] == other[:count]
    assert one[count : count + 1] != other[count : count + 1] or one == other


# --- the soak --------------------------------------------------------------------------------------------------------

OUTCOME = {
    "count": 9,
    "tokens": 900,
    "seconds": 61.0,
    "gap_s": 1.5,
    "gap_at_s": 20.0,
    "last_token_s": 60.0,
    "errors": [],
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"errors": ["after 20 s, how rain forms: no token for 60 s"]}, "requests failed: after 20 s, how rain forms"),
        ({"tokens": 0}, "no token came"),
        ({"gap_s": 31.0}, "a token took 31.0 s, 20 s after the beginning"),
        ({"last_token_s": 20.0}, "no token came in the last 40 s"),
    ],
)
def test_a_soak_passes_where_tokens_flowed_to_the_end(changes: dict[str, Any], says: str) -> None:
    said = soak.problem({**OUTCOME, **changes}, minutes=1, gap_s=30)
    assert said.startswith(says)
    assert bool(said) is bool(says)


@pytest.mark.parametrize(("path", "field"), [(CHAT, "messages"), (COMPLETION, "prompt")])
def test_requests_of_a_load_are_bounded_and_begin_differently(path: str, field: str) -> None:
    bodies = [one["body"] for one in soak.requests("m", path, 99)]
    assert {(body["max_tokens"], body["stream"], body["model"]) for body in bodies} == {(99, True, "m")}
    assert len({str(body[field])[:40] for body in bodies}) == len(bodies) >= 8


# --- the report ------------------------------------------------------------------------------------------------------


def test_a_report_keeps_what_was_done_and_says_what_failed() -> None:
    accuracy = {
        "failed": True,
        "msg": "too few",
        "answers": exam.graded(answers(20)),
        "compared": "/x.json",
        "differences": [],
    }
    parts = {
        "gpu": {"spark1": {"changed": False, "skipped": True}, "spark2": {}},
        "text": {"spark1": {"text": "not asked for"}},
        "import": {name: {"changed": False, "version": "1.3.0rc13", "at": 1.0} for name in ("spark1", "spark2")},
        "accuracy": {"spark1": accuracy},
        "soak": {"spark1": {"outcome": OUTCOME, "minutes": 1, "concurrency": 4}},
    }
    library = {"path": "/x", "version": "2.28.9", "bytes": 219, "sha256": "ab" * 32}
    facts = {
        "model": MODEL,
        "nodes": ["spark1", "spark2"],
        "image": "nvcr",
        "ranks": {"spark1": {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE"}},
        "nccl": {"spark1": [library], "spark2": []},
    }
    found = report.report(facts, ["gpu", "import", "accuracy", "soak"], parts, "now")
    assert "text" not in found
    assert found["import"] == {"version": "1.3.0rc13", "passed": True, "hosts": {"spark1": True, "spark2": True}}
    assert (found["passed"], found["accuracy"]["passed"], found["soak"]["passed"]) == (False, False, True)
    assert report.text(found) == [
        "FAILED: a/b on 2 Sparks, nvcr",
        f"gpu: FAILED: {report.NOT_REACHED}",
        "import: passed, TensorRT-LLM 1.3.0rc13",
        "accuracy: FAILED, 0 of 20 right (0.0 %), 20 equal to /x.json",
        "soak: passed, 9 answers, 900 tokens in 1.0 min, 14.8 a second, longest gap 1.5 s",
        "NCCL on spark1: 2.28.9, 219 bytes, abababababab",
        "NCCL on spark2: none is loaded",
        "transport of spark1: IB ([0]rocep1s0f0:1/RoCE)",
    ]


def test_a_report_says_how_tokens_were_guessed_and_which_answers_differ() -> None:
    one = exam.graded(answers(0))
    differing = [{"id": one[3]["id"], "what": "the text differs", "before": "a", "now": "b"}]
    accuracy = {"answers": one, "compared": "/x.json", "differences": differing, "unlike": "without then, and with now"}
    guesses = {"kind": "MTP", "repo": "", "commit": "", "tokens": 3}
    facts = {"model": MODEL, "nodes": ["spark1"], "image": "nvcr", "speculative": guesses}
    found = report.report(facts, ["accuracy"], {"accuracy": {"spark1": accuracy}}, "now")
    assert (found["speculative"], found["accuracy"]["unlike"]) == (guesses, "without then, and with now")
    assert report.text(found)[1:] == [
        "accuracy: passed, 20 of 20 right (100.0 %), 19 equal to /x.json, without then, and with now; these differ: "
        + one[3]["id"],
        "served with speculative decoding (MTP, 3 tokens at a time)",
    ]


def test_a_part_that_failed_on_one_host_has_failed() -> None:
    parts = {"import": {"spark1": {"version": "1.3.0rc13"}, "spark2": {"failed": True, "msg": "spark2: ImportError"}}}
    found = report.report({"nodes": ["spark1", "spark2"]}, ["import"], parts, "now")
    assert (found["passed"], found["import"]["hosts"]) == (False, {"spark1": True, "spark2": False})
    assert report.text(found)[1] == "import: FAILED: spark2: ImportError"


@pytest.mark.parametrize("asked", [[], ["gpu"], ["gpu", "import"]])
def test_a_report_of_what_did_not_run_has_not_passed(asked: list[str]) -> None:
    parts = {"gpu": {"spark1": {"skipped": True}}, "import": {"spark1": {"version": "1"}}}
    found = report.report({"model": MODEL}, asked, parts, "now")
    assert not found["passed"]
    assert report.text(found)[0].startswith("FAILED: a/b")
