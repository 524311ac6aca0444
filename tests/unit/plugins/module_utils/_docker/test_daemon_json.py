# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A merge says what was asked for, and leaves every byte of somebody else's where it was."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    DaemonJsonError,
    Settings,
    decode,
    edit,
    merge,
    not_in_effect,
    parse,
    refuse_restart,
    running_containers,
    same,
    why_not_started,
    without,
)
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = {"default-runtime": "nvidia"}
DEFAULTS = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"


def merged(text: str) -> str:
    return edit(text, merge(parse(text), SETTINGS, DEFAULTS, "gpu", [UUID]))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n    "default-runtime": "nvidia"\n}\n'),
        (" \n", '{\n    "default-runtime": "nvidia"\n}\n'),
        ("{}", '{\n    "default-runtime": "nvidia"\n}'),
        ("{}\n", '{\n    "default-runtime": "nvidia"\n}\n'),
        ("{\n}\n", '{\n    "default-runtime": "nvidia"\n}\n'),
        ('{"debug": true}', '{"debug": true, "default-runtime": "nvidia"}'),
        ('{ "debug":true }', '{ "debug":true, "default-runtime": "nvidia" }'),
        ('{\n  "debug": true\n}\n', '{\n  "debug": true,\n  "default-runtime": "nvidia"\n}\n'),
        ('{\n\t"debug":true\n}', '{\n\t"debug":true,\n\t"default-runtime": "nvidia"\n}'),
        ('{\r\n  "debug": true\r\n}\r\n', '{\r\n  "debug": true,\r\n  "default-runtime": "nvidia"\r\n}\r\n'),
        ('{"default-runtime" :  "runc"}', '{"default-runtime" :  "nvidia"}'),
        ('\n{"n": 1e3, "u": "\\u00e9/\\/"}', '\n{"n": 1e3, "u": "\\u00e9/\\/", "default-runtime": "nvidia"}'),
        ('{\n"dns": ["1.1.1.1"]\n}', '{\n"dns": ["1.1.1.1"],\n"default-runtime": "nvidia"\n}'),
    ],
    ids=["empty", "blank", "object", "newline", "open", "line", "dense", "two", "tab", "crlf", "other", "raw", "flush"],
)
def test_keeps_the_layout(before: str, after: str) -> None:
    assert edit(before, merge(parse(before), SETTINGS)) == after


def test_adds_below_what_is_there() -> None:
    before = '{\n  "runtimes": {\n    "kata": {"path": "/opt/kata"}\n  },\n  "log-level": "info"\n}\n'
    assert merged(before) == (
        '{\n  "runtimes": {\n    "kata": {"path": "/opt/kata"},\n    "nvidia": {\n'
        '      "path": "nvidia-container-runtime"\n    }\n  },\n  "log-level": "info",\n  "default-runtime": "nvidia"'
        f',\n  "node-generic-resources": [\n    "gpu={UUID}"\n  ]\n}}\n'
    )


def test_leaves_a_runtime_of_the_owner_alone() -> None:
    text = '{"default-runtime": "nvidia", "runtimes": {"nvidia": {"args": [], "path": "/opt/nvidia-runtime"}}}'
    assert edit(text, merge(parse(text), SETTINGS, DEFAULTS)) == text


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        ([], ["gpu=A", "gpu=B"]),
        (["gpu=B", "gpu=A"], ["gpu=B", "gpu=A"]),
        (["gpu=old", "gpu=A"], ["gpu=A", "gpu=B"]),
        (["fpga=1", "gpu=old", "NVIDIA-GPU=A"], ["fpga=1", "NVIDIA-GPU=A", "gpu=A", "gpu=B"]),
        (["gpu=A", "gpu=A", "gpu=B"], ["gpu=A", "gpu=B"]),
        (["gpu=1"], ["gpu=A", "gpu=B"]),
    ],
)
def test_resources_of_our_kind_become_ours(present: list, wanted: list) -> None:
    assert merge({"node-generic-resources": present}, {}, kind="gpu", values=["A", "B"]) == {
        "node-generic-resources": wanted
    }


def test_resources_go() -> None:
    text = '{\n  "node-generic-resources": ["gpu=A"],\n  "debug": true\n}\n'
    assert edit(text, merge(parse(text), {}, kind="gpu")) == '{\n  "debug": true\n}\n'
    assert edit('{"node-generic-resources": ["gpu=A"]}', {}) == "{}"
    assert merge({}, {}, kind="gpu") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "debug": true,\n}', "line 2, column 1[0-9]|line 3, column 1"),
        ('// mine\n{"debug": true}', "line 1, column 1"),
        ('{"debug": NaN}', "NaN is not a number"),
        ('{"debug": true, "debug": false}', "'debug' is there twice"),
        ("[]", "the top is a list"),
        ("null", "the top is null"),
        ('"x"', "the top is a string"),
        ('{"a": "\t"}', "line 1, column 8"),
        ('{"a": 1} {}', "line 1, column 10"),
        ("{", "line 1, column 2"),
        ('{"a":' * 100_000, "nested too deeply|line 1"),
    ],
)
def test_refuses_what_it_cannot_read(text: str, message: str) -> None:
    with pytest.raises(DaemonJsonError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("current", "message"),
    [
        ({"runtimes": []}, "'runtimes' is a list"),
        ({"runtimes": {"nvidia": "x"}}, "'runtimes.nvidia' is a string"),
        ({"node-generic-resources": "gpu=A"}, "must be a list of KIND=VALUE"),
        ({"node-generic-resources": [1]}, "must be a list of KIND=VALUE"),
    ],
)
def test_refuses_what_it_cannot_merge(current: dict, message: str) -> None:
    with pytest.raises(DaemonJsonError, match=message):
        merge(current, SETTINGS, DEFAULTS, "gpu", ["A"])


@pytest.mark.parametrize("kind", ["", "1gpu", "gpu=", "g pu", "gpu\n"])
def test_refuses_a_kind(kind: str) -> None:
    with pytest.raises(DaemonJsonError, match="is no kind of resource"):
        merge({}, {}, kind=kind, values=["A"])


def test_decodes() -> None:
    assert decode(b"\xef\xbb\xbf{}") == (b"\xef\xbb\xbf", "{}")
    assert decode("é".encode()) == (b"", "é")
    with pytest.raises(DaemonJsonError, match="byte 2 is not UTF-8"):
        decode(b"{\xff}")


def test_sameness_is_that_of_json() -> None:
    assert same({"a": 1, "b": [True]}, {"b": [True], "a": 1})
    assert not same({"a": 1}, {"a": True})
    assert not same({"a": 1}, {"a": 1.0})
    assert not same([1, 2], [2, 1])


INFO = {
    "DefaultRuntime": "runc",
    "Runtimes": {"runc": {}},
    "GenericResources": [
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "B"}},
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "A"}},
        {"DiscreteResourceSpec": {"Kind": "fpga", "Value": 2}},
    ],
}


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ({}, []),
        ({"default-runtime": "runc", "runtimes": {"runc": {}}}, []),
        ({"default-runtime": "nvidia"}, ["default-runtime"]),
        (DEFAULTS, ["runtimes.nvidia"]),
        ({"node-generic-resources": ["fpga=2", "gpu=A", "gpu=B"]}, []),
        ({"node-generic-resources": ["gpu=A"]}, ["node-generic-resources"]),
    ],
)
def test_knows_what_the_engine_does_not_follow_yet(wanted: dict, missing: list) -> None:
    assert not_in_effect(wanted, INFO) == missing


def test_a_restart_under_containers_is_refused() -> None:
    refuse_restart([])
    running = running_containers(
        [{"Id": "0" * 64, "Names": ["/web"], "Image": "nginx"}, {"Id": "1" * 64, "Image": "x"}]
    )
    with pytest.raises(DaemonJsonError, match=r"111111111111 \(x\), web \(nginx\)\. Nothing was changed"):
        refuse_restart(running)


def test_finds_why_docker_did_not_start() -> None:
    both = "unable to configure the Docker daemon with file /etc/docker/daemon.json: specified both as a flag and …"
    journal = f"Starting docker.service\n{both}\n{both}\ndocker.service: Main process exited, status=1/FAILURE\n"
    assert why_not_started(journal) == both
    assert why_not_started("one\ntwo\n") == "one / two"
    assert why_not_started("") == "nothing"


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
RUNTIMES = st.fixed_dictionaries({"runtimes": st.dictionaries(st.text(), values, max_size=2)})
foreign = st.dictionaries(st.text(), values, max_size=4)
files = st.one_of(foreign, st.tuples(foreign, RUNTIMES).map(lambda pair: {**pair[0], **pair[1]}))
layouts = st.sampled_from([None, 1, 2, 4, "\t"])


@given(files, layouts, st.booleans(), st.sampled_from(["", "\n", "\r\n"]))
def test_never_touches_a_foreign_key(content: dict, indent: object, ascii_only: bool, end: str) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only) + end
    try:
        wanted = merge(parse(text), SETTINGS, DEFAULTS, "gpu", [UUID])
    except DaemonJsonError:
        return  # runtimes, or nvidia in it, is something else by chance
    once = edit(text, wanted)
    assert same(parse(once), wanted)
    assert merged(once) == once
    for key, value in content.items():
        if key not in ("runtimes", "default-runtime", "node-generic-resources"):
            assert same(parse(once)[key], value)
            if indent is None:
                assert (
                    f"{json.dumps(key, ensure_ascii=ascii_only)}: {json.dumps(value, ensure_ascii=ascii_only)}" in once
                )
    assert [key for key in parse(once) if key in content] == list(content)
    for key, value in content.get("runtimes", {}).items():
        assert key == "nvidia" or same(parse(once)["runtimes"][key], value)
    assert once.endswith(end) or not content


@given(files, layouts, st.randoms())
def test_the_order_of_keys_changes_nothing(content: dict, indent: object, chance: object) -> None:
    try:
        wanted = merge(content, SETTINGS, DEFAULTS, "gpu", [UUID])
    except DaemonJsonError:
        return
    keys = list(wanted)
    chance.shuffle(keys)
    text = json.dumps({key: wanted[key] for key in keys}, indent=indent)
    assert merged(text) == text


@given(foreign, layouts)
def test_taking_out_what_was_put_in_gives_the_same_bytes(content: dict, indent: object) -> None:
    content = {**content, "debug": True}
    content.pop("node-generic-resources", None)
    text = json.dumps(content, indent=indent)
    with_it = edit(text, merge(parse(text), {}, kind="gpu", values=[UUID]))
    assert edit(with_it, merge(parse(with_it), {}, kind="gpu")) == text


OURS = Settings({"default-runtime": "nvidia"}, {"runtimes": {"nvidia": {"path": "n", "args": []}}}, "gpu", ("GPU-1",))


@pytest.mark.parametrize(
    ("original", "theirs", "left"),
    [
        ({}, {"debug": True}, {"debug": True}),
        ({"debug": True}, {"debug": False}, {"debug": False}),
        ({"default-runtime": "runc"}, {"debug": True}, {"default-runtime": "runc", "debug": True}),
        ({}, {"default-runtime": "crun"}, {"default-runtime": "crun"}),
        ({"runtimes": {}}, {"debug": True}, {"runtimes": {}, "debug": True}),
        ({}, {"node-generic-resources": ["gpu=GPU-1", "fpga=1"]}, {"node-generic-resources": ["fpga=1"]}),
        (
            {"node-generic-resources": ["gpu=GPU-1", "gpu=GPU-9"]},
            {"debug": True},
            {"node-generic-resources": ["gpu=GPU-1", "gpu=GPU-9"], "debug": True},
        ),
        ({}, {"node-generic-resources": "none"}, {"node-generic-resources": "none"}),
    ],
    ids=["added", "changed", "ours back", "ours changed", "empty", "a resource", "theirs of our kind", "no list"],
)
def test_what_others_have_changed_since_stays(original: dict, theirs: dict, left: dict) -> None:
    current = {**OURS.merged(original), **theirs}
    assert without(current, original, OURS) == left


@given(files, st.dictionaries(st.text(), scalars, max_size=3))
def test_without_our_settings_a_file_is_the_original_and_what_others_changed(original: dict, theirs: dict) -> None:
    owned = {*OURS.values, *OURS.defaults, "node-generic-resources"}
    theirs = {key: value for key, value in theirs.items() if key not in owned}
    current = {**OURS.merged(original), **theirs}
    assert same(without(current, original, OURS), {**original, **theirs})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"x": ' + "9" * 5000 + "}", "4300 digits"),
        ('{"x":' * 60 + "1" + "}" * 60, "nested too deeply"),
        ('{"x":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
    ],
    ids=["a long number", "deep", "deeper"],
)
def test_what_python_itself_does_not_read_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(DaemonJsonError, match=says):
        parse(text)


def test_half_a_character_stays_an_escape() -> None:
    text = r'{"node-generic-resources": ["x=\ud800"], "y": "\ud800"}'
    after = edit(text, Settings(kind="gpu", resources=["a"]).merged(parse(text)))
    assert after.encode() == rb'{"node-generic-resources": ["x=\ud800", "gpu=a"], "y": "\ud800"}'


@pytest.mark.parametrize("config", [{"runtimes": None}, {"runtimes": []}, {"node-generic-resources": None}])
def test_a_file_with_nulls_is_compared_with_the_engine(config: dict) -> None:
    assert not_in_effect(config, {"Runtimes": None, "GenericResources": None}) == []
