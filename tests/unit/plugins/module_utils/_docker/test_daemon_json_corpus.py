# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the shapes that hosts have: merged, and nothing else in them touched, or refused by name."""

from __future__ import annotations

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    DaemonJsonError,
    decode,
    edit,
    merge,
    parse,
)

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"
BOM = b"\xef\xbb\xbf"

GOOD: dict[str, bytes] = {
    "empty file": b"",
    "a newline alone": b"\n",
    "empty object": b"{}\n",
    "byte order mark": BOM + b'{\n  "debug": false\n}\n',
    "no newline at the end": b'{\n  "log-level": "warn"\n}',
    "four spaces, as nvidia-ctk writes it": (
        b'{\n    "runtimes": {\n        "nvidia": {\n            "args": [],\n'
        b'            "path": "nvidia-container-runtime"\n        }\n    }\n}'
    ),
    "as the Swarm recipe has it": (
        b'{\n  "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}},\n'
        b'  "default-runtime": "nvidia",\n  "node-generic-resources": [\n    "NVIDIA_GPU=GPU-45cbf7b3"\n  ]\n}\n'
    ),
    "one line": b'{"data-root":"/raid/docker","storage-driver":"overlay2"}\n',
    "mirrors and proxies": (
        b'{\n  "registry-mirrors": ["https://mirror.example"],\n  "insecure-registries" : [ ],\n'
        b'  "proxies": {"http-proxy": "http://proxy.example:3128", "no-proxy": "*.test,127.0.0.0/8"}\n}\n'
    ),
    "log rotation and address pools": (
        b'{\n\t"log-driver": "json-file",\n\t"log-opts": {"max-size": "10m", "max-file": "3"},\n'
        b'\t"default-address-pools": [\n\t\t{"base": "172.80.0.0/16", "size": 24}\n\t]\n}\n'
    ),
    "other runtimes and CDI": (
        b'{\n  "features": {"cdi": true, "containerd-snapshotter": true},\n'
        b'  "runtimes": {\n    "runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=host"]}\n  }\n}\n'
    ),
    "deep foreign keys": (
        b'{"x": {"y": [{"z": [1, 2.50, 1e3, null, true, {"\\u00fc": "\\/"}]}]}, "debug": true, "labels": ["a=b"]}\n'
    ),
    "Windows line ends": b'{\r\n  "experimental": true\r\n}\r\n',
    "cgroups and ulimits": (
        b'{\n  "exec-opts": ["native.cgroupdriver=systemd"],\n  "default-cgroupns-mode": "host",\n'
        b'  "default-ulimits": {"memlock": {"Name": "memlock", "Hard": -1, "Soft": -1}}\n}\n'
    ),
}
BAD: dict[str, tuple[bytes, str]] = {
    "comments": (b'{\n  // GPUs\n  "debug": true\n}\n', "line 2, column 3"),
    "a comma too many": (b'{\n  "debug": true,\n}\n', r"line (2, column 1[0-9]|3, column 1)"),
    "a list on top": (b'[{"debug": true}]\n', "the top is a list"),
    "a string on top": (b'"nvidia"\n', "the top is a string"),
    "cut off": (b'{"runtimes": {"nvidia": ', "line 1, column"),
    "a key twice": (b'{"runtimes": {}, "runtimes": {"nvidia": {}}}', "'runtimes' is there twice"),
    "runtimes as a list": (b'{"runtimes": ["nvidia"]}', "'runtimes' is a list"),
    "resources as a string": (b'{"node-generic-resources": "gpu=1"}', "must be a list of KIND=VALUE"),
    "Latin-1": (b'{"labels": ["k\xfcche"]}', "byte 15 is not UTF-8"),
    "UTF-16": (b"\xff\xfe{\x00}\x00", "byte 1 is not UTF-8"),
}


def merged(content: bytes) -> bytes:
    bom, text = decode(content)
    defaults = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
    return bom + edit(text, merge(parse(text), {"default-runtime": "nvidia"}, defaults, "gpu", [UUID])).encode()


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_is_merged_and_nothing_else_touched(content: bytes) -> None:
    after = merged(content)
    assert merged(after) == after
    assert after.startswith(BOM) == content.startswith(BOM)
    was, now = parse(decode(content)[1]), parse(decode(after)[1])
    assert now["default-runtime"] == "nvidia"
    assert f"gpu={UUID}" in now["node-generic-resources"]
    ours = ("default-runtime", "runtimes", "node-generic-resources")
    assert {key: value for key, value in was.items() if key not in ours}.items() <= now.items()
    assert was.get("runtimes", {}).items() <= now["runtimes"].items()
    assert set(was.get("node-generic-resources", [])) <= set(now["node-generic-resources"])
    rest = iter(after.decode())
    assert all(letter in rest for letter in content.decode()), "every letter is still there, in its order"


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD)
def test_is_refused_by_name(content: bytes, says: str) -> None:
    with pytest.raises(DaemonJsonError, match=says):
        merged(content)
