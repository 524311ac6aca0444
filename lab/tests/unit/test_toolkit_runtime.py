# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated container runtime and its hook make of a container, mode by mode and version by version."""

from __future__ import annotations

import copy
import importlib
import io
import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLKIT = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files" / "toolkit"
sys.path.insert(0, str(TOOLKIT / "usr/lib/nvidia-container-toolkit"))
config, edits, hook, host, limits, request_, runtime = (
    importlib.import_module(f"nvidia_toolkit.{name}")
    for name in ("config", "edits", "hook", "host", "limits", "request", "runtime")
)

A, B = "GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-bbbbbbbb-0000-0000-0000-000000000000"
HOOK = {"path": "/usr/bin/nvidia-container-runtime-hook", "args": ["nvidia-container-runtime-hook", "prestart"]}
SWARM = {"swarm-resource": "DOCKER_RESOURCE_GPU"}
MOFED = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_MOFED": "enabled"}


def spec(env: dict[str, str] | None = None, **more: object) -> dict:
    items = [f"{name}={value}" for name, value in (env or {}).items()]
    return {"process": {"env": ["PATH=/bin", *items]}, "root": {"path": "/merged"}, **more}


def table(mode: str = "auto", **top: object) -> dict:
    found = config.default_table()
    found["nvidia-container-runtime"]["mode"] = mode
    found.update(top)
    return found


def machine(version: str = "1.19.0", gpus: tuple[str, ...] = (A, B), **more: bool):
    return request_.Host(gpus, version, **more)


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """/dev with two GPUs and two RDMA devices; making real nodes needs root."""
    numbers = {
        "nvidia0": (195, 0),
        "nvidia1": (195, 1),
        "nvidiactl": (195, 255),
        "nvidia-uvm": (503, 0),
        "infiniband/uverbs0": (231, 192),
        "infiniband/uverbs1": (231, 193),
        "infiniband/rdma_cm": (10, 58),
    }
    (tmp_path / "infiniband").mkdir()
    for name in numbers:
        (tmp_path / name).touch()
    real = Path.stat

    def as_device(path: Path, **more: bool):
        found = real(path, **more)
        if path.is_relative_to(tmp_path) and str(path.relative_to(tmp_path)) in numbers:
            rdev = os.makedev(*numbers[str(path.relative_to(tmp_path))])
            return SimpleNamespace(st_mode=stat.S_IFCHR | 0o666, st_rdev=rdev)
        return found

    monkeypatch.setattr(Path, "stat", as_device)
    return tmp_path


def apply(container: dict, settings: dict, here, dev: Path):
    wanted = request_.read(container, settings, here)
    return edits.apply(container, wanted, here, "/bundle/gpus", dev)


def nodes(container: dict) -> list[str]:
    return [device["path"] for device in container.get("linux", {}).get("devices", [])]


def mounts(container: dict) -> dict[str, str]:
    return {mount["destination"]: mount["source"] for mount in container.get("mounts", [])}


# --- which devices are asked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "preferred", "devices"),
    [
        ({}, [], ()),
        ({"NVIDIA_VISIBLE_DEVICES": ""}, [], ()),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, [], ()),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, [], ("",)),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, [], ("all",)),
        ({"NVIDIA_VISIBLE_DEVICES": "0, 1,0"}, [], ("0", "1")),
        ({"NVIDIA_VISIBLE_DEVICES": f"{A},all"}, [], ("all",)),
        ({"CUDA_VERSION": "10.2"}, [], ("all",)),
        ({"CUDA_VERSION": "10.2", "NVIDIA_REQUIRE_CUDA": "cuda>=10"}, [], ()),
        ({"NVIDIA_VISIBLE_DEVICES": "all", "DOCKER_RESOURCE_GPU": A}, ["DOCKER_RESOURCE_GPU"], (A,)),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, ["DOCKER_RESOURCE_GPU"], ("all",)),
        ({"ONE": A, "TWO": B}, ["ONE", "TWO"], (A, B)),
        ({"NVIDIA_VISIBLE_DEVICES": "all", "ONE": ""}, ["ONE"], ()),
    ],
)
def test_visible_devices(env: dict[str, str], preferred: list[str], devices: tuple[str, ...]) -> None:
    assert request_.visible_devices(env, preferred) == devices


def test_the_last_of_two_values_counts() -> None:
    container = {"process": {"env": ["NVIDIA_VISIBLE_DEVICES=none", "NVIDIA_VISIBLE_DEVICES=all"]}}
    assert request_.read(container, table(), machine()).devices == ("all",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('swarm-resource = "A, B"\n[nvidia-ctk]\n', ["A", "B"]),
        ('[nvidia-ctk]\nswarm-resource = "A"\n', []),  # appended at the end, as a well-known script does
        ('#swarm-resource = "A"\n', []),
    ],
)
def test_swarm_resource_counts_only_at_the_top(text: str, names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert request_.swarm_variables(config.load(path)) == names


def test_unprivileged_containers_may_be_kept_from_asking() -> None:
    strict = table(**{"accept-nvidia-visible-devices-envvar-when-unprivileged": False})
    container = spec({"NVIDIA_VISIBLE_DEVICES": "all"})
    assert request_.read(container, strict, machine()).devices == ()
    container["process"]["capabilities"] = {"bounding": ["CAP_SYS_ADMIN"]}
    assert request_.read(container, strict, machine()).devices == ("all",)


@pytest.mark.parametrize(
    ("mode", "devices", "version", "by_hook", "resolved"),
    [
        ("auto", ("all",), "1.20.0", False, "jit-cdi"),
        ("auto", ("all",), "1.18.0", False, "jit-cdi"),
        ("auto", ("all",), "1.17.8", False, "legacy"),
        ("auto", ("all",), "1.19.0", True, "legacy"),
        ("auto", ("nvidia.com/gpu=all",), "1.19.0", False, "cdi"),
        ("legacy", ("all",), "1.19.0", False, "legacy"),
    ],
)
def test_modes(mode: str, devices: tuple[str, ...], version: str, by_hook: bool, resolved: str) -> None:
    assert request_.resolve_mode(table(mode), devices, config.number(version), by_hook) == resolved


def test_an_invalid_mode_is_refused() -> None:
    with pytest.raises(request_.ToolkitError, match='invalid mode "fast"'):
        request_.read(spec(), table("fast"), machine())


# --- what a container gets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "jit-cdi", "cdi"])
def test_a_container_that_asks_for_nothing_is_left_alone(mode: str, dev: Path) -> None:
    container = spec({"NVIDIA_MOFED": "enabled"})
    before = copy.deepcopy(container)
    assert apply(container, table(mode), machine(), dev) is None
    assert container == before


def test_a_gpu_comes_with_nvidia_smi_nodes_and_rules(dev: Path) -> None:
    container = spec({"NVIDIA_VISIBLE_DEVICES": B})
    assert apply(container, table(), machine(), dev) == (1,)
    assert nodes(container) == ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    rules = container["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": True, "type": "c", "major": 195, "minor": 1, "access": "rwm"}
    assert mounts(container)["/usr/bin/nvidia-smi"] == "/usr/bin/nvidia-smi"
    assert mounts(container)["/etc/virtual-spark/gpus"] == "/bundle/gpus"
    assert "NVIDIA_VISIBLE_DEVICES=void" in container["process"]["env"]  # so says the source of the real one
    assert not any("infiniband" in path for path in nodes(container))


def test_none_is_the_driver_without_a_gpu(dev: Path) -> None:
    container = spec({"NVIDIA_VISIBLE_DEVICES": "none"})
    assert apply(container, table(), machine(), dev) == ()
    assert nodes(container) == []
    assert "/usr/bin/nvidia-smi" in mounts(container)


@pytest.mark.parametrize("mode", ["auto", "jit-cdi", "legacy"])
def test_mofed_adds_the_rdma_nodes(mode: str, dev: Path) -> None:
    container = spec(MOFED)
    apply(container, table(mode), machine(), dev)
    rdma = [path for path in nodes(container) if "infiniband" in path]
    assert rdma == ["/dev/infiniband/uverbs0", "/dev/infiniband/uverbs1", "/dev/infiniband/rdma_cm"]
    allowed = {(rule["major"], rule["minor"]) for rule in container["linux"]["resources"]["devices"]}
    assert {(231, 192), (231, 193), (10, 58)} <= allowed


def test_mofed_without_rdma_devices_is_no_failure(dev: Path) -> None:
    for path in (dev / "infiniband").iterdir():
        path.unlink()
    container = spec(MOFED)
    assert apply(container, table(), machine(), dev) == (0, 1)
    assert not any("infiniband" in path for path in nodes(container))


def test_mofed_does_nothing_without_a_gpu_asked_for(dev: Path) -> None:
    container = spec({"NVIDIA_MOFED": "enabled", "NVIDIA_VISIBLE_DEVICES": "void"})
    assert apply(container, table("legacy"), machine(), dev) is None
    assert nodes(container) == []


@pytest.mark.parametrize(
    ("version", "given"),
    [("1.18.2", (0, 1)), ("1.19.0", (1,)), ("1.20.0", (1,))],
)
def test_auto_mode_knows_swarm_resources_since_1_19(version: str, given: tuple[int, ...], dev: Path) -> None:
    container = spec({"NVIDIA_VISIBLE_DEVICES": "all", "DOCKER_RESOURCE_GPU": B})
    assert apply(container, table(**SWARM), machine(version), dev) == given


def test_auto_mode_of_1_18_leaves_a_task_with_only_a_swarm_resource_alone(dev: Path) -> None:
    container = spec({"DOCKER_RESOURCE_GPU": B})
    assert apply(container, table(**SWARM), machine("1.18.2"), dev) is None


def test_jit_cdi_removes_docker_s_hook_and_keeps_others(dev: Path) -> None:
    other = {"path": "/usr/bin/other"}
    container = spec({"NVIDIA_VISIBLE_DEVICES": "all"}, hooks={"prestart": [HOOK, other]})
    apply(container, table(), machine(), dev)
    assert container["hooks"]["prestart"] == [other]


def test_legacy_mode_adds_the_hook_once(dev: Path) -> None:
    container = spec({"NVIDIA_VISIBLE_DEVICES": "all"})
    for _ in range(2):
        apply(container, table("legacy"), machine(), dev)
        assert container["hooks"]["prestart"] == [HOOK]
    assert "NVIDIA_VISIBLE_DEVICES=all" in container["process"]["env"]


@pytest.mark.parametrize(("version", "left"), [("1.18.2", "all"), ("1.19.0", "void")])
def test_legacy_mode_with_mofed_hides_the_gpu_since_1_19(version: str, left: str, dev: Path) -> None:
    container = spec(MOFED)
    apply(container, table("legacy"), machine(version), dev)
    assert request_.environment(container)["NVIDIA_VISIBLE_DEVICES"] == left


@pytest.mark.parametrize(
    ("device", "here", "said"),
    [
        ("GPU-no", machine(), "failed to get device handle from UUID: Not Found"),
        ("7", machine(), "failed to get device handle from index: Invalid Argument"),
        ("left", machine(), 'identifier is not a valid UUID or index: "left"'),
        ("all", machine(driver=False), "failed to initialize NVML: Driver Not Loaded"),
        ("all", machine(lost=True), "GPU is lost"),
    ],
)
def test_jit_cdi_refuses(device: str, here, said: str, dev: Path) -> None:
    with pytest.raises(request_.ToolkitError, match=said):
        apply(spec({"NVIDIA_VISIBLE_DEVICES": device}), table(), here, dev)


def test_cdi_mode_knows_no_specification(dev: Path) -> None:
    with pytest.raises(request_.ToolkitError, match="unresolvable CDI devices nvidia"):
        apply(spec({"NVIDIA_VISIBLE_DEVICES": "all"}, hooks={"prestart": [HOOK]}), table("cdi"), machine(), dev)
    container = spec({"NVIDIA_VISIBLE_DEVICES": "runtime.nvidia.com/gpu=1"})
    assert apply(container, table("cdi"), machine(), dev) == (1,)


def test_a_missing_driver_does_not_hurt_other_containers(dev: Path) -> None:
    assert apply(spec(), table(), machine(driver=False), dev) is None


def test_nodes_belong_to_the_container_s_user(dev: Path) -> None:
    container = spec({"NVIDIA_VISIBLE_DEVICES": "0"})
    container["process"]["user"] = {"uid": 1000, "gid": 1000}
    apply(container, table(), machine(), dev)
    assert container["linux"]["devices"][0]["uid"] == 1000


def test_rdma_class_is_laid_over_sys_where_there_are_rdma_nodes(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "skeleton").mkdir()
    places = [place for _, place, _ in edits.rdma_sysfs("/merged", str(tmp_path))]
    assert places[0] == "/sys/class"
    assert places[-2:] == ["/sys/class/infiniband", "/sys/class/infiniband_verbs"]
    assert edits.rdma_sysfs("/a:b", str(tmp_path)) == []
    assert edits.rdma_sysfs("/merged", str(tmp_path / "none")) == []
    laid = edits.rdma_sysfs("/merged", str(tmp_path))
    monkeypatch.setattr(edits, "rdma_sysfs", lambda _root: laid)
    container = spec()
    edits.show_rdma_sysfs(container)
    assert mounts(container) == {}
    asked = spec(MOFED)  # and got none: the kernel shows the class all the same
    edits.show_rdma_sysfs(asked)
    assert "/sys/class/infiniband_verbs" in mounts(asked)
    container["linux"] = {"devices": [{"path": "/dev/infiniband/uverbs0"}]}
    edits.show_rdma_sysfs(container)
    assert container["mounts"][0]["type"] == "overlay"
    assert container["mounts"][0]["options"] == ["ro", f"lowerdir={tmp_path}/skeleton:/merged/sys/class"]


# --- limits -----------------------------------------------------------------------------------------------------------

UNLIMITED = 2**64 - 1


def limited(name: str, soft: int, hard: int) -> dict:
    return {"process": {"rlimits": [{"type": name, "soft": soft, "hard": hard}]}}


def test_a_limit_that_cannot_be_set_is_clamped_and_told() -> None:
    container = limited("RLIMIT_MEMLOCK", UNLIMITED, UNLIMITED)
    changed = limits.clamp(container, lambda *_: False, lambda _: 8388608)
    assert container["process"]["rlimits"] == [{"type": "RLIMIT_MEMLOCK", "soft": 8388608, "hard": 8388608}]
    assert changed[0]["asked"] == {"soft": UNLIMITED, "hard": UNLIMITED}


@pytest.mark.parametrize(
    ("limit", "settable", "top"),
    [
        (("RLIMIT_MEMLOCK", UNLIMITED, UNLIMITED), True, 8388608),  # a machine that may: left alone
        (("RLIMIT_NOFILE", 1 << 30, 1 << 30), False, 1 << 20),  # above fs.nr_open: fails on a Spark too
        (("RLIMIT_STACK", 9, 8), False, 16),  # soft above hard: fails anywhere
    ],
)
def test_limits_that_are_left_alone(limit: tuple[str, int, int], settable: bool, top: int) -> None:
    container = limited(*limit)
    before = copy.deepcopy(container)
    assert limits.clamp(container, lambda *_: settable, lambda _: top, nr_open=1 << 20) == []
    assert container == before


def test_settable_asks_the_kernel() -> None:
    top = limits.ceiling("RLIMIT_CORE")
    assert limits.settable("RLIMIT_CORE", min(1024, top), top)
    assert not limits.settable("RLIMIT_CORE", 2, 1)
    assert limits.settable("RLIMIT_OF_TOMORROW", 1, 1)


def test_clamped_limits_are_recorded_as_json_lines(tmp_path: Path) -> None:
    log = tmp_path / "log" / "clamped.jsonl"
    for _ in range(2):
        limits.record("c1", [{"type": "RLIMIT_MEMLOCK", "asked": {}, "given": {}}], log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["container"] for line in lines] == ["c1", "c1"]


# --- the runtime program ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "create"),
    [
        (["--root", "/r", "create", "--bundle", "/b", "c1"], True),
        (["create", "-b=/b", "c1"], True),
        (["--bundle", "create", "start"], False),
        (["start", "c1"], False),
        (["features"], False),
    ],
)
def test_create_is_told_from_the_rest(arguments: list[str], create: bool) -> None:
    assert runtime.is_create(arguments) is create


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dev: Path):
    """The runtime with a runc that only notes its arguments, on a machine with one GPU."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    settings = tmp_path / "config.toml"
    settings.write_text('swarm-resource = "DOCKER_RESOURCE_GPU"\n')
    handed: list[list[str]] = []
    monkeypatch.setenv("NVIDIA_CTK_CONFIG_FILE_PATH", str(settings))
    monkeypatch.setattr(runtime, "hand_on", lambda path, arguments: handed.append([path, *arguments]))
    monkeypatch.setattr(runtime, "low_level", lambda _table: "/usr/sbin/runc")
    monkeypatch.setattr(host, "find", lambda: machine(gpus=(A,)))
    monkeypatch.setattr(limits, "LOG", tmp_path / "clamped.jsonl")

    def run(container: dict, *words: str) -> tuple[list[list[str]], dict]:
        (bundle / "config.json").write_text(json.dumps(container))
        runtime.main([*words, "create", "--bundle", str(bundle), "c1"])
        return handed, json.loads((bundle / "config.json").read_text())

    run.bundle = bundle
    return run


def test_the_runtime_edits_and_hands_on(shim) -> None:
    handed, container = shim(spec({"DOCKER_RESOURCE_GPU": A}))
    assert handed == [["/usr/sbin/runc", "create", "--bundle", str(shim.bundle), "c1"]]
    assert (shim.bundle / "virtual-spark-gpus").read_text() == f"{A}\n"
    assert mounts(container)["/etc/virtual-spark/gpus"] == str(shim.bundle / "virtual-spark-gpus")


def test_what_is_executed_later_has_the_clamped_limits_too(
    shim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits.clamp, "__defaults__", (lambda *_: False, lambda _: 8388608, None))
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["true"], **limited("RLIMIT_MEMLOCK", UNLIMITED, UNLIMITED)["process"]}))
    runtime.main(["--root", "/r", "exec", "--process", str(process), "--detach", "c1"])
    assert json.loads(process.read_text()) == {
        "args": ["true"],
        "rlimits": [{"type": "RLIMIT_MEMLOCK", "soft": 8388608, "hard": 8388608}],
    }


def test_the_runtime_tells_the_engine_why_it_refused(shim, capsys: pytest.CaptureFixture[str]) -> None:
    log = shim.bundle / "log.json"
    handed, container = shim(spec({"NVIDIA_VISIBLE_DEVICES": B}), "--log", str(log), "--log-format", "json")
    said = json.loads(log.read_text())
    assert handed == []
    assert said["level"] == "error"
    assert said["msg"] == (
        "could not apply required modification to OCI specification: error modifying OCI spec: failed to create the "
        'automatic CDI modifier: failed to generate CDI spec for mode "auto": failed to construct device spec '
        "generators: failed to get device handle from UUID: Not Found"
    )
    assert said["msg"] in capsys.readouterr().err
    assert container == spec({"NVIDIA_VISIBLE_DEVICES": B})  # untouched


def test_older_runtimes_refuse_in_other_words() -> None:
    assert runtime.refusal("no", (1, 18)).startswith("failed to create NVIDIA Container Runtime: failed to construct")


def test_the_low_level_runtime_is_the_first_that_is_there(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "crun").write_text("")
    (tmp_path / "crun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = table()
    settings["nvidia-container-runtime"]["runtimes"] = ["no-such-runc", "crun"]
    assert runtime.low_level(settings) == str(tmp_path / "crun")
    settings["nvidia-container-runtime"]["runtimes"] = ["no-such-runc"]
    with pytest.raises(RuntimeError, match="no runtime binary found"):
        runtime.low_level(settings)


def test_host_reads_gpus_and_faults(tmp_path: Path) -> None:
    (tmp_path / "gpus").write_text(f"# mine\n{A}\n\n")
    assert host.find(tmp_path) == machine(gpus=(A,))
    (tmp_path / "faults").mkdir()
    for fault in ("gpu-none", "gpu-fell-off", "gpu-driver-missing"):
        (tmp_path / "faults" / fault).touch()
    assert host.find(tmp_path) == machine(gpus=(), driver=False, lost=True)


# --- the hook ---------------------------------------------------------------------------------------------------------


def test_the_hook_gives_what_docker_asked_for() -> None:
    asked = spec({"NVIDIA_VISIBLE_DEVICES": "1"})
    assert hook.plan(asked, table(), machine()) == (["Auto-detected mode as 'legacy'"], (1,))


def test_the_hook_knows_swarm_resources_in_every_version() -> None:
    asked = spec({"DOCKER_RESOURCE_GPU": B})
    assert hook.plan(asked, table("legacy", **SWARM), machine("1.18.0"))[1] == (1,)


def test_the_hook_leaves_other_containers_alone() -> None:
    assert hook.plan(spec(), table("cdi"), machine()) == ([], None)


@pytest.mark.parametrize("mode", ["cdi", "jit-cdi"])
def test_the_hook_refuses_to_be_called_in_other_modes(mode: str) -> None:
    with pytest.raises(request_.ToolkitError) as caught:
        hook.plan(spec({"NVIDIA_VISIBLE_DEVICES": "all"}), table(mode), machine())
    assert str(caught.value) == (
        f"Using requested mode '{mode}'\ninvoking the NVIDIA Container Runtime Hook directly (e.g. specifying the "
        "docker --gpus flag) is not supported. Please use the NVIDIA Container Runtime (e.g. specify the "
        "--runtime=nvidia flag) instead."
    )


@pytest.mark.parametrize(
    ("device", "here", "said"),
    [
        ("GPU-no", machine(), "nvidia-container-cli: device error: GPU-no: unknown device"),
        ("all", machine(driver=False), "nvidia-container-cli: initialization error: nvml error: driver not loaded"),
    ],
)
def test_the_hook_fails_in_libnvidia_container_s_words(device: str, here, said: str) -> None:
    with pytest.raises(request_.ToolkitError) as caught:
        hook.plan(spec({"NVIDIA_VISIBLE_DEVICES": device}), table(), here)
    assert str(caught.value) == f"Auto-detected mode as 'legacy'\n{said}"


def test_the_hook_program_fails_with_its_reason(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "config.json").write_text(json.dumps(spec({"NVIDIA_VISIBLE_DEVICES": "GPU-no"})))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"pid": 1, "bundle": str(tmp_path)})))
    monkeypatch.setattr(host, "find", lambda: machine())
    monkeypatch.setenv("NVIDIA_CTK_CONFIG_FILE_PATH", str(tmp_path / "none.toml"))
    assert hook.main(["prestart"]) == 1
    assert "GPU-no: unknown device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/usr/bin/nvidia-smi", "usr/bin/nvidia-smi"),
        ("/bin/sh", "usr/bin/sh"),
        ("/absolute/x", "usr/x"),
        ("/up/x", "x"),
        ("/../../etc/passwd", "etc/passwd"),
    ],
)
def test_links_do_not_lead_out_of_the_container(path: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "absolute").symlink_to("/usr")
    (tmp_path / "up").symlink_to("../../..")
    (tmp_path / "loop").symlink_to("loop")
    assert hook.inside(tmp_path, path) == tmp_path / found
    with pytest.raises(OSError, match="too many"):
        hook.inside(tmp_path, "/loop")
