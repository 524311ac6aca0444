# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image of TensorRT-LLM is asked once what it takes; the files of one that is not started, and its help."""

from __future__ import annotations

import importlib
import io
import json
import re
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts, trtllm_image
from ansible_collections.sparkops.dgx_spark.plugins.modules import trtllm_image_info
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.trtllm_schema import Schema
from fake_docker import Engine, listening

STAND_IN = Path(__file__).parents[4] / "lab" / "roles" / "virtual_spark" / "files" / "engine"
NAME = "nvcr.test/nvidia/tensorrt-llm/release:1.4.0rc0"
ID = f"sha256:{'a1' * 32}"
LIBRARY = "/usr/local/lib/python3.12/dist-packages/tensorrt_llm"
SCHEMA = {
    "title": "TensorRT-LLM 1.4.0rc0 trtllm-serve --config",
    "properties": {"a": {"type": "integer", "title": "A"}},
}
HELP = "Usage: trtllm-serve serve [OPTIONS] MODEL\n\nOptions:\n  --tp_size INTEGER  Ways.\n  --help  Show this.\n"
PLENTY = "MemTotal: 125829120 kB\nMemAvailable: 104857600 kB\n"


def stand_in(name: str) -> Any:
    if str(STAND_IN) not in sys.path:
        sys.path.insert(0, str(STAND_IN))
    return importlib.import_module(f"tensorrt_llm.simulation.{name}")


def archive(name: str, text: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text.encode())
        tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


def framed(text: str) -> bytes:
    return b"\1\0\0\0" + len(text.encode()).to_bytes(4, "big") + text.encode()


def put(engine: Engine, path: str, content: bytes) -> None:
    engine.answers["GET", f"/containers/c1/archive?path={path}"] = content


@pytest.fixture
def place(tmp_path: Path) -> Iterator[SimpleNamespace]:
    engine, short = Engine(), Path(tempfile.mkdtemp())
    engine.answers["GET", f"/images/{NAME}/json"] = {"Id": ID, "Config": {"Env": ["PATH=/usr/bin"]}}
    engine.answers["GET", f"/images/{ID}/json"] = {"Id": ID, "Config": {"Env": None}}
    engine.answers["GET", "/images/json"] = []
    engine.answers["POST", "/containers/create"] = {"Id": "c1"}
    engine.answers["POST", "/containers/c1/wait"] = {"StatusCode": 0}
    engine.answers["GET", "/containers/c1/logs"] = framed(HELP)
    put(engine, f"{LIBRARY}/version.py", archive("version.py", '# SPDX\n__version__ = "1.4.0rc0"\n'))
    put(engine, f"{LIBRARY}/schemas/trtllm-serve-config.schema.json", archive("s", json.dumps(SCHEMA)))
    (tmp_path / "meminfo").write_text(PLENTY)
    (tmp_path / "trtllm").mkdir()
    with listening(engine, short / "d") as socket:
        yield SimpleNamespace(
            engine=engine, docker=Docker(socket, 5), folder=tmp_path / "trtllm", meminfo=tmp_path / "meminfo"
        )
    shutil.rmtree(short)


@pytest.fixture(autouse=True)
def memory(place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trtllm_image.flags_of
    monkeypatch.setattr(trtllm_image, "flags_of", lambda *asked: real(*asked, meminfo=place.meminfo))


def look(place: SimpleNamespace, run_help: bool = False, **limits: Any) -> dict[str, Any]:
    return trtllm_image.look(place.docker, NAME, str(place.folder), run_help, image_facts.Limits(**limits))


def told(place: SimpleNamespace) -> list[str]:
    return [f"{method} {target.split('?')[0]}" for method, target, _body in place.engine.told]


def keep(found: dict[str, Any]) -> None:
    for file in found["note"]["files"]:
        Path(file["path"]).write_text(file["content"])


CREATED, REMOVED = "POST /containers/create", "DELETE /containers/c1"


def test_a_plan_reads_files_of_a_container_that_never_runs(place: SimpleNamespace) -> None:
    found = look(place)
    assert told(place) == [CREATED, REMOVED]
    body = place.engine.told[0][2]
    assert (body["Image"], body["HostConfig"]["NetworkMode"], body["HostConfig"]["Runtime"]) == (ID, "none", "runc")
    facts = found["facts"]
    assert (facts["image_id"], facts["version"], facts["package"], facts["source"]) == (
        ID,
        "1.4.0rc0",
        LIBRARY,
        "image",
    )
    assert facts["schema"] == {"title": SCHEMA["title"], "properties": {"a": {"type": "integer"}}}
    assert (facts["flags"], found["noted"], found["note"]) == (None, False, {})


def test_the_help_is_printed_without_gpu_network_or_much_memory(place: SimpleNamespace) -> None:
    found = look(place, run_help=True)
    started = ["POST /containers/c1/start", "POST /containers/c1/wait"]
    assert told(place) == [CREATED, REMOVED, CREATED, *started, REMOVED]
    body = place.engine.told[2][2]
    host = body["HostConfig"]
    assert (host["NetworkMode"], host["Runtime"], host["CapDrop"]) == ("none", "runc", ["ALL"])
    assert host["Memory"] == host["MemorySwap"] == 4096 * 2**20
    assert "DeviceRequests" not in host
    assert "NVIDIA_VISIBLE_DEVICES=void" in body["Env"]
    assert found["facts"]["flags"] == {"tp_size": {"kind": "int", "choices": []}}
    assert found["noted"]


@pytest.mark.parametrize(
    ("answers", "because"),
    [
        ({("POST", "/containers/c1/wait"): {"StatusCode": 1}}, "ended with status 1 and '--help  Show this.'"),
        ({("GET", "/containers/c1/logs"): framed("ImportError: libcuda.so.1\n")}, "'ImportError: libcuda.so.1'"),
        (
            {("POST", "/containers/c1/start"): (500, {"message": "no such runtime"})},
            "Docker cannot run .*no such runtime",
        ),
    ],
)
def test_where_the_help_fails_the_reason_is_kept_and_nothing_is_left(
    place: SimpleNamespace, answers: dict[tuple[str, str], Any], because: str
) -> None:
    place.engine.answers.update(answers)
    found = look(place, run_help=True)
    assert found["facts"]["flags"] is None
    assert re.search(because, found["facts"]["no_flags_because"])
    assert told(place)[-1] == REMOVED
    assert found["facts"]["schema"], "the files were read all the same"


def test_a_help_that_does_not_end_is_ended(place: SimpleNamespace) -> None:
    place.engine.on["POST", "/containers/c1/wait"] = lambda _body: time.sleep(1)
    found = look(place, run_help=True, seconds=0.1)
    assert found["facts"]["no_flags_because"] == "trtllm-serve serve --help did not end within 0.1 seconds"
    assert told(place)[-1] == REMOVED
    assert "force=1" in place.engine.told[-1][1]


def test_beside_a_serving_that_leaves_little_memory_nothing_is_started(place: SimpleNamespace) -> None:
    place.meminfo.write_text("MemTotal: 125829120 kB\nMemAvailable: 10485760 kB\n")
    found = look(place, run_help=True)
    assert found["facts"]["no_flags_because"] == "only 10240 MiB of memory are available, and 12288 are needed"
    assert "POST /containers/c1/start" not in told(place)


def test_what_was_kept_is_read_without_a_container(place: SimpleNamespace) -> None:
    first = look(place, run_help=True)
    keep(first)
    assert first["note"]["files"][0]["path"] == f"{place.folder}/image-{'a1' * 6}.json"
    assert first["note"]["files"][0]["mode"] == "0644"
    place.engine.told.clear()
    again = look(place, run_help=True)
    assert place.engine.told == []
    assert again == {"facts": {**first["facts"], "source": "note"}, "noted": True, "note": {}}


def damaged(facts: dict[str, Any], **changes: Any) -> str:
    return json.dumps({"form": image_facts.NOTE_FORM, "name": NAME, "facts": {**facts, **changes}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"form": 0, "facts": {}}',
        lambda facts: damaged(facts, image_id="sha256:other"),
        lambda facts: damaged(facts, flags={"a": {"kind": 1, "choices": []}}),
        lambda facts: damaged(facts, flags=[]),
        lambda facts: damaged(facts, schema="x"),
        lambda facts: damaged(facts, version=None),
    ],
)
def test_a_note_that_cannot_be_read_is_none(place: SimpleNamespace, text: Any) -> None:
    first = look(place, run_help=True)
    keep(first)
    facts = {name: value for name, value in first["facts"].items() if name != "source"}
    path = Path(first["note"]["files"][0]["path"])
    path.write_text(text if isinstance(text, str) else text(facts))
    assert look(place)["facts"]["source"] == "image"


def test_no_link_is_followed_to_a_note(place: SimpleNamespace, tmp_path: Path) -> None:
    first = look(place, run_help=True)
    (tmp_path / "elsewhere").write_text(first["note"]["files"][0]["content"])
    Path(first["note"]["files"][0]["path"]).symlink_to(tmp_path / "elsewhere")
    assert look(place)["facts"]["source"] == "image"


def test_an_image_that_is_not_there_says_nothing(place: SimpleNamespace) -> None:
    del place.engine.answers["GET", f"/images/{NAME}/json"]
    assert look(place, run_help=True) == {"facts": {}, "noted": False, "note": {}}
    assert place.engine.told == []


def test_an_image_that_was_removed_is_known_by_its_note(place: SimpleNamespace) -> None:
    keep(look(place, run_help=True))
    del place.engine.answers["GET", f"/images/{NAME}/json"]
    found = look(place)
    assert (found["facts"]["image_id"], found["facts"]["source"], found["noted"]) == (ID, "note", True)


def test_what_was_built_from_an_image_that_was_removed_says_the_same(place: SimpleNamespace) -> None:
    del place.engine.answers["GET", f"/images/{NAME}/json"]
    place.engine.answers["GET", "/images/json"] = [{"Id": "sha256:old", "Created": 1}, {"Id": ID, "Created": 2}]
    assert look(place)["facts"]["image_id"] == ID


def test_a_container_that_a_killed_run_has_left_is_removed(place: SimpleNamespace) -> None:
    def create(_body: Any) -> None:
        left = ("DELETE", "/containers/dgx-spark-trtllm-facts") in [
            (method, target.split("?")[0]) for method, target, _body in place.engine.told
        ]
        place.engine.answers["POST", "/containers/create"] = {"Id": "c1"} if left else (409, {"message": "in use"})

    place.engine.on["POST", "/containers/create"] = create
    assert look(place)["facts"]["version"] == "1.4.0rc0"
    assert told(place) == [CREATED, "DELETE /containers/dgx-spark-trtllm-facts", CREATED, REMOVED]


def test_an_old_image_has_no_schema(place: SimpleNamespace) -> None:
    del place.engine.answers["GET", f"/containers/c1/archive?path={LIBRARY}/schemas/trtllm-serve-config.schema.json"]
    facts = look(place)["facts"]
    assert (facts["version"], facts["schema"]) == ("1.4.0rc0", None)


@pytest.mark.parametrize("content", [b"no archive", archive("s", "{"), archive("s", "[]"), b"x" * (16 * 2**20 + 1)])
def test_a_schema_that_is_none_is_none(place: SimpleNamespace, content: bytes) -> None:
    put(place.engine, f"{LIBRARY}/schemas/trtllm-serve-config.schema.json", content)
    assert look(place)["facts"]["schema"] is None


def test_where_no_docker_answers_yet_nothing_is_said(tmp_path: Path) -> None:
    docker = Docker(str(tmp_path / "none"), 1)
    assert trtllm_image.look(docker, NAME, str(tmp_path), False, image_facts.Limits())["facts"] == {}


@pytest.mark.parametrize("answer", [{"Id": 3, "Config": 4}, {"Id": ID, "Config": {"Env": [3]}}])
def test_another_form_of_answer_is_an_error_in_a_sentence(place: SimpleNamespace, answer: Any) -> None:
    place.engine.answers["GET", f"/images/{NAME}/json"] = answer
    with pytest.raises(DockerError, match="Docker Engine"):
        look(place)


@pytest.mark.parametrize("era", stand_in("era").ERAS)
def test_the_stand_ins_help_is_read_as_what_it_takes(era: str) -> None:
    command_line = stand_in("command_line")
    found = trtllm_image.parse_help(command_line.help_text(era).splitlines())
    kinds = {"choice": "choice", "flag": "flag", "int": "int", "float": "float", "path": "path"}
    wanted = {
        name[2:]: {"kind": "choice" if one.choices else kinds.get(one.kind, "str"), "choices": list(one.choices)}
        for one in command_line.options(era)
        for name in one.names
    }
    assert found == wanted


def test_a_help_of_clicks_own_layout_is_read() -> None:
    lines = """Usage: trtllm-serve serve [OPTIONS] MODEL

  Serve a MODEL, with --no_such flag in its text.

Options:
  --tokenizer TEXT                Path | Name.
  --backend [pytorch|_autodeploy]
                                  The backend; see --other.
  --tensor_parallel_size, --tp_size INTEGER RANGE
                                  Ways.  [x>=1]
  -c, --config, --extra_llm_api_options FILE
                                  A YAML.
  --telemetry / --no-telemetry    Reports.
  --free_gpu_memory_fraction FLOAT  Share.
  --set PATH=YAML                 A key.
  --help                          Show this message and exit.
""".splitlines()
    found = {name: (one["kind"], one["choices"]) for name, one in trtllm_image.parse_help(lines).items()}
    assert found == {
        "tokenizer": ("str", []),
        "backend": ("choice", ["pytorch", "_autodeploy"]),
        "tensor_parallel_size": ("int", []),
        "tp_size": ("int", []),
        "config": ("path", []),
        "extra_llm_api_options": ("path", []),
        "telemetry": ("flag", []),
        "no-telemetry": ("flag", []),
        "free_gpu_memory_fraction": ("float", []),
        "set": ("str", []),
    }


def test_a_schema_without_words_judges_as_the_whole_one() -> None:
    whole = stand_in("schema").schema("1.4", "1.4.0rc0")
    slim = trtllm_image.schema_in(json.dumps(whole))
    assert slim is not None
    assert len(json.dumps(slim)) < len(json.dumps(whole))
    for options in (
        {"kv_cache_config": {"free_gpu_memory_fractoin": 0.5, "dtype": "x"}},
        {"perf_metrics_max_requests": 4, "speculative_config": {"decoding_type": "MTP", "no": 1}},
    ):
        assert Schema(slim).findings(options) == Schema(whole).findings(options) != []


def test_the_module_changes_nothing(
    place: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trtllm_image_info, "layout", lambda *_names: {"state_dir": str(place.folder)})
    arguments = {"image": NAME, "docker_socket": place.docker.path, "run_help": True}
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        trtllm_image_info.main()
    found = json.loads(capsys.readouterr().out)
    assert not found["changed"]
    assert found["facts"]["flags"]
    assert list(place.folder.iterdir()) == []
    place.engine.answers["POST", "/containers/create"] = (500, {"message": "no space left"})
    with patch_module_args(arguments), pytest.raises(SystemExit):
        trtllm_image_info.main()
    said = json.loads(capsys.readouterr().out)["msg"]
    assert said == f"The image {NAME} cannot be read: no space left. Nothing was changed."
