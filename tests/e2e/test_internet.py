# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's internet: the real hf client and the real Docker Engine get what they ask for, and the errors they know."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab

MODEL, GATED = "lab/model-200m", "lab/gated"
TOKENS = {
    "hf_lab_granted": {"name": "friend", "granted": [GATED]},
    "hf_lab_stranger": {"name": "stranger", "granted": []},
}


def control(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"http://{lab.internet}:9000{path}", method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def in_internet(lab: Lab, *argv: str) -> str:
    """Run a program in the container that stands for the internet."""
    return subprocess.run(
        ["docker", "exec", f"{lab.name}-internet", *argv], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def models(lab: Lab) -> dict[str, dict[str, Any]]:
    """Two repositories on the hub, one of them gated."""
    seeded = {}
    for repo, more in ((MODEL, ["--size=200M", "--shards=5"]), (GATED, ["--size=1M", "--gated=manual"])):
        said = in_internet(
            lab, "python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={repo}", *more
        )
        seeded[repo] = json.loads(said)
    program = f"open('/srv/virtual-internet/hub/tokens.json', 'w').write({json.dumps(TOKENS)!r})"
    in_internet(lab, "python3", "-c", program)
    return seeded


def hf_download(lab: Lab, home: Path, repo: str, token: str = "") -> subprocess.CompletedProcess[str]:
    wanted = {
        "HOME": str(home),
        "HF_HOME": str(home),
        "HF_ENDPOINT": f"http://{lab.internet}",
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    hf = Path(sys.executable).with_name("hf")
    argv = [hf, "download", repo]
    return subprocess.run(argv, env={**kept, **wanted}, capture_output=True, text=True, timeout=180, check=False)


def test_a_download_survives_three_disconnects(lab: Lab, models: dict[str, Any], tmp_path: Path) -> None:
    control(lab, "DELETE", "/stats")
    # The client writes in pieces of 10 MiB, and resumes after the last whole one.
    cut = {"service": "hub", "kind": "cut", "match": "/cdn/", "after_bytes": 10 * 2**20, "times": 3}
    control(lab, "POST", "/faults", cut)
    done = hf_download(lab, tmp_path, MODEL)
    assert done.returncode == 0, done.stderr
    faults = control(lab, "GET", "/faults")
    assert [fault["kind"] for fault in faults["applied"]] == ["cut"] * 3
    assert faults["active"] == []

    snapshot = next((tmp_path / "hub" / "models--lab--model-200m" / "snapshots").iterdir())
    assert snapshot.name == models[MODEL]["commit"]
    for name, about in models[MODEL]["files"].items():
        content = (snapshot / name).read_bytes()
        assert len(content) == about["size"]
        if about["lfs"]:
            assert hashlib.sha256(content).hexdigest() == about["etag"], name
    sent = control(lab, "GET", "/stats")["services"]["hub"]["content_bytes"]
    assert sent == models[MODEL]["size"], "every byte once: resumed, not begun again"
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "requires approval"),
        ("hf_lab_stranger", "requires approval"),
        ("hf_wrong", "Invalid credentials"),
    ],
)
def test_a_gated_repository_gives_the_clients_own_error(
    lab: Lab, models: dict[str, Any], tmp_path: Path, token: str, says: str
) -> None:
    done = hf_download(lab, tmp_path, GATED, token)
    assert done.returncode != 0
    assert says in done.stderr


def test_a_granted_token_opens_it(lab: Lab, models: dict[str, Any], tmp_path: Path) -> None:
    done = hf_download(lab, tmp_path, GATED, "hf_lab_granted")
    assert done.returncode == 0, done.stderr


def test_a_spark_pulls_by_tag_and_by_digest(lab: Lab) -> None:
    near, far = lab.host("spark1"), lab.host("spark2")
    image = "nvcr.test/lab/tiny"
    near.check_output(f"sudo tar -cC /usr/share/common-licenses . | sudo docker import - {image}:1")
    pushed = near.check_output(f"sudo docker push {image}:1")
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed).group(1)
    try:
        control(
            lab, "POST", "/faults", {"service": "registry", "kind": "status", "status": 503, "match": "/blobs/sha256"}
        )
        assert digest in far.check_output(f"sudo docker pull {image}:1")
        far.check_output(f"sudo docker image rm {image}:1")
        far.check_output(f"sudo docker pull {image}@{digest}")
        ids = [host.check_output(f"sudo docker image inspect -f '{{{{.Id}}}}' {name}") for host, name in
               ((near, f"{image}:1"), (far, f"{image}@{digest}"))]  # fmt: skip
        assert ids[0] == ids[1]
        assert control(lab, "GET", "/faults")["active"] == []
    finally:
        control(lab, "DELETE", "/faults")
        for host in (near, far):
            host.run(f"sudo docker image rm -f $(sudo docker image ls -q {image})")
