# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated nvidia-ctk, byte by byte against what the real one was captured to do."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

TOOLKIT = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files" / "toolkit"
CAPTURED = Path(__file__).parents[3] / "tests" / "unit" / "fixtures" / "nvidia_ctk"
CASES = sorted(path.name for path in (CAPTURED / "runtime_configure").iterdir())
sys.path.insert(0, str(TOOLKIT / "usr/lib/nvidia-container-toolkit"))
config, ctk, gojson = (importlib.import_module(f"nvidia_toolkit.{name}") for name in ("config", "ctk", "gojson"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def runner(*arguments: str) -> tuple[int, str, str]:
        code = ctk.main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return runner


@pytest.fixture
def daemon_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/etc/docker/daemon.json, where the captures had it."""
    path = tmp_path / "daemon.json"

    class Renamed(type(path)):  # prints as the real path, so that messages can be compared
        def __str__(self) -> str:
            return super().__str__().replace(str(tmp_path), "/etc/docker")

        def __fspath__(self) -> str:
            return super().__str__()

    monkeypatch.setattr(ctk, "Path", Renamed)
    return path


# --- runtime configure ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_configure_as_captured(case: str, run, daemon_json: Path) -> None:
    folder = CAPTURED / "runtime_configure" / case
    if (folder / "daemon.before.json").exists():
        shutil.copy(folder / "daemon.before.json", daemon_json)
    command = ["runtime", "configure", "--runtime=docker", "--config", str(daemon_json), "--nvidia-set-as-default"]
    if (folder / "dry_run.rc").exists():
        before = daemon_json.read_bytes()
        expected = [(folder / f"dry_run.{name}").read_text() for name in ("rc", "stdout", "stderr")]
        code, out, err = run(*command, "--dry-run")
        assert [f"{code}\n", out, err] == expected
        assert daemon_json.read_bytes() == before
    code, out, err = run(*command)
    assert [f"{code}\n", out, err] == [(folder / name).read_text() for name in ("rc", "stdout", "stderr")]
    assert daemon_json.read_bytes() == (folder / "daemon.after.json").read_bytes()


def test_configure_takes_names_and_paths(run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "daemon.json"
    words = ["--nvidia-runtime-name", "gpu", "--runtime-path=/opt/nvidia-container-runtime", "--config", str(path)]
    assert run("--quiet", "runtime", "configure", *words) == (0, "", "")
    assert json.loads(path.read_text()) == {
        "runtimes": {"gpu": {"path": "/opt/nvidia-container-runtime", "args": []}},
    }


def test_configure_with_cdi_loses_foreign_features(run, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"features": {"buildkit": true}}')
    assert run("runtime", "configure", "--config", str(path), "--enable-cdi")[0] == 0
    assert json.loads(path.read_text())["features"] == {"cdi": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime=podman"], "unrecognized runtime 'podman'"),
        (["--runtime=crio"], "not simulated"),
        (["--drop-in-config=/x"], "does not support drop-in configs"),
        (["--no-such-flag"], "flag provided but not defined: -no-such-flag"),
        (["--config"], "flag needs an argument: -config"),
    ],
)
def test_configure_refuses(words: list[str], said: str, run) -> None:
    code, out, err = run("runtime", "configure", *words)
    assert (code, out) == (1, "")
    assert said in err


# --- config -----------------------------------------------------------------------------------------------------------


def test_the_package_ships_the_captured_default() -> None:
    shipped = TOOLKIT / "etc/nvidia-container-runtime/config.toml"
    assert shipped.read_bytes() == (CAPTURED / "config/default.toml").read_bytes()


def test_config_without_a_file_is_the_default(run, tmp_path: Path) -> None:
    default = (CAPTURED / "config/default.toml").read_text()
    assert run("config", "--config-file", str(tmp_path / "none.toml")) == (0, default, "")


def test_config_set_in_place_as_captured(run, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    shutil.copy(CAPTURED / "config/default.toml", path)
    folder = CAPTURED / "config"
    for _ in range(2):  # it can be repeated
        code, out, err = run(
            "config", "--config-file", str(path), "--in-place", "--set", "swarm-resource=DOCKER_RESOURCE_GPU"
        )
        assert [f"{code}\n", out, err] == [(folder / f"set.{name}").read_text() for name in ("rc", "stdout", "stderr")]
        assert path.read_bytes() == (folder / "after_set.toml").read_bytes()


def test_config_unknown_key_as_captured(run, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    shutil.copy(CAPTURED / "config/default.toml", path)
    code, out, err = run("config", f"--config-file={path}", "-i", "--set=no-such-key=1")
    expected = [(CAPTURED / "config" / f"unknown_key.{name}").read_text() for name in ("rc", "stdout", "stderr")]
    assert [f"{code}\n", out, err] == expected
    assert path.read_bytes() == (CAPTURED / "config/default.toml").read_bytes()


def test_config_sets_every_kind(run, tmp_path: Path) -> None:
    sets = [
        "nvidia-container-cli.no-cgroups",
        "nvidia-container-runtime.mode=legacy",
        "nvidia-container-runtime.runtimes=crun:runc",
        "features.disable-imex-channel-creation=true",
        "accept-nvidia-visible-devices-envvar-when-unprivileged=false",
    ]
    arguments = [word for item in sets for word in ("--set", item)]
    code, out, _ = run("config", "--config-file", str(tmp_path / "none.toml"), *arguments)
    assert code == 0
    for line in (
        "no-cgroups = true",
        'mode = "legacy"',
        'runtimes = ["crun", "runc"]',
        "[features]",
        "disable-imex-channel-creation = true",
        "accept-nvidia-visible-devices-envvar-when-unprivileged = false",
    ):
        assert line in out.splitlines()


def test_config_loses_comments_as_the_real_one_does(run, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("# mine\n" + (CAPTURED / "config/default.toml").read_text())
    assert run("config", "-c", str(path), "--in-place")[0] == 0
    assert path.read_bytes() == (CAPTURED / "config/default.toml").read_bytes()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("swarm-resource", "invalid format: expected key=value; got swarm-resource"),
        ("disable-require=perhaps", "invalid format: strconv.ParseBool"),
        ("nvidia-container-runtime.colour=red", 'invalid config option: undefined field: "colour"'),
        ("nowhere.mode=auto", 'invalid config option: undefined field: "nowhere"'),
    ],
)
def test_bad_settings_are_refused(setting: str, said: str) -> None:
    with pytest.raises(config.ConfigError, match=re.escape(said)):
        config.parse_setting(setting)


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_version_is_the_package_s(run) -> None:
    control = (TOOLKIT / "DEBIAN/control").read_text()
    code, out, _ = run("--version")
    before = (CAPTURED / "version.txt").read_text().split("unknown")[0]
    assert (code, out.splitlines()[0]) == (0, f"{before}{config.VERSION}")
    assert f"Version: {config.VERSION}-1\n" in control


def test_a_test_may_play_another_version(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "VERSION_FILE", tmp_path / "toolkit-version")
    (tmp_path / "toolkit-version").write_text("1.18.2\n")
    assert "version 1.18.2" in run("--version")[1]
    assert config.number("1.19.0-rc.2") == (1, 19)


def test_what_is_not_simulated_says_so(run) -> None:
    assert run("cdi", "generate") == (1, "", 'level=error msg="cdi generate: not simulated in a virtual Spark"\n')


# --- Go's JSON --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "EOF"),
        (" \n", "EOF"),
        ("{", "unexpected EOF"),
        ('{"a', "unexpected EOF"),
        ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a": 1 "b": 2}', "invalid character '\"' after object key:value pair"),
        ('{"a": [1 2]}', "invalid character '2' after array element"),
        ('{"a": 012}', "invalid character '1' after object key:value pair"),
        ('{"a": tru}', "invalid character '}' in literal true (expecting 'e')"),
        ('{"a": "\\q"}', "invalid character 'q' in string escape code"),
        ("// comment", "invalid character '/' looking for beginning of value"),
        ('{"a": 1.}', "invalid character '}' after decimal point in numeric literal"),
    ],
)
def test_errors_are_go_s(text: str, said: str) -> None:
    with pytest.raises(gojson.GoError) as caught:
        gojson.decode(text)
    assert str(caught.value) == said


def test_what_follows_the_first_value_is_not_read() -> None:
    assert gojson.decode('{"a": 1} and more') == {"a": 1.0}


@pytest.mark.parametrize(
    ("value", "text"),
    [(10485760.0, "10485760"), (0.5, "0.5"), (1e21, "1e+21"), (1e-7, "1e-7"), (1e-5, "0.00001"), (-3.0, "-3")],
)
def test_numbers_are_spelled_as_go_spells_them(value: float, text: str) -> None:
    assert gojson.encode(value) == text


def test_strings_are_safe_for_html() -> None:
    assert gojson.encode("<a&b>\u2028ü\x01") == '"\\u003ca\\u0026b\\u003e\\u2028ü\\u0001"'


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_is_written_is_json_and_reads_back(value: object) -> None:
    text = gojson.encode(value)
    assert json.loads(text, parse_int=float) == value
    assert gojson.decode(text) == value


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        gojson.decode(text)
    except gojson.GoError:
        return
