# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role container_toolkit on one virtual Spark: where the toolkit comes from, what is refused, what a failure says.

It takes long: run by `make test-all`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from typing import Any, Iterator

import pytest

from .conftest import Lab, Run, at_task
from .test_swarm import changes, etc, good, made, planned, refused, root

pytestmark = pytest.mark.matrix

ROLE = "sparkops.dgx_spark.container_toolkit"
REPOSITORY = "http://apt.test:8090/libnvidia-container"
MIRROR = {
    "container_toolkit_repository_url": f"{REPOSITORY}/stable/deb",
    "container_toolkit_repository_key_url": f"{REPOSITORY}/gpgkey",
}
DAEMON = "/etc/docker/daemon.json"


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One blank Spark."""
    name = f"swm-{secrets.token_hex(3)}"
    one = Lab(tmp_path_factory.mktemp("toolkit"), name=name, variables={"virtual_spark_count": 1})
    one.come()
    yield one
    if not os.environ.get("E2E_KEEP"):
        good(one.play("lab/playbooks/down.yml"))
        shutil.rmtree(one.scratch)


def play(lab: Lab, check: bool = False, **variables: Any) -> Run:
    return lab.play([{"hosts": "spark", "gather_facts": False, "roles": [ROLE]}], check=check, **variables)


def undo(lab: Lab, check: bool = False, **variables: Any) -> Run:
    task = {"import_role": {"name": ROLE, "tasks_from": "undo"}}
    return lab.play([{"hosts": "spark", "gather_facts": False, "tasks": [task]}], check=check, **variables)


def version(lab: Lab) -> str:
    return root(lab, "spark1", "dpkg-query -W -f '${Version}' nvidia-container-toolkit")


def test_a_broken_file_is_refused_with_its_place(single: Lab) -> None:
    root(single, "spark1", f"printf '{{\\n  debug: true\\n}}\\n' > {DAEMON}")
    refused(play(single), "invalid JSON in line 2, column 3")
    assert root(single, "spark1", f"cat {DAEMON}") == "{\n  debug: true\n}"


def test_the_owners_default_runtime_is_asked_about(single: Lab) -> None:
    root(single, "spark1", f"""echo '{{"default-runtime": "runc"}}' > {DAEMON}""")
    refused(play(single), '"default-runtime": "runc"', "container_toolkit_replace_default_runtime: true")
    root(single, "spark1", f"rm {DAEMON}")


def test_a_missing_driver_is_named_on_the_host_and_from_a_container(
    single: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = "/etc/virtual-spark/faults/gpu-driver-missing"
    root(single, "spark1", f"mkdir -p $(dirname {fault}) && touch {fault}")
    refused(play(single), "the NVIDIA driver is not loaded", "modprobe nvidia")
    root(single, "spark1", f"rm {fault}")
    # The runtime alone does not find it: the module's own look from outside still does.
    at_task(
        monkeypatch,
        "Compare the GPUs inside a container with the GPUs of the host",
        f"docker exec {single.name}-spark1 touch {fault}",
    )
    assert "driver is not loaded" in play(single).words
    root(single, "spark1", f"rm {fault}")


def test_the_proof_and_the_way_back(single: Lab) -> None:
    good(undo(single))
    before = etc(single, "spark1")
    foretold = good(play(single, check=True, container_toolkit_docker_user="nvidia"))
    done = good(play(single, container_toolkit_docker_user="nvidia"))
    assert planned(foretold) == made(done)
    report = done.registered("container_toolkit_report")["spark1"]
    assert report["gpus"] == [root(single, "spark1", "cat /etc/virtual-spark/gpus")]
    for check in (False, True):
        assert changes(good(play(single, check=check, container_toolkit_docker_user="nvidia"))) == {}
    good(undo(single))
    assert etc(single, "spark1") == before
    assert root(single, "spark1", "docker images -q; ls -d /var/lib/dgx-spark 2>/dev/null || true") == ""


def test_unattended_upgrades_are_warned_of(single: Lab) -> None:
    conf = "/etc/apt/apt.conf.d/20auto-upgrades"
    root(single, "spark1", f"""echo 'APT::Periodic::Unattended-Upgrade "1";' > {conf}""")
    assert "unattended-upgrades may upgrade containerd docker.io runc" in play(single, check=True).words
    root(single, "spark1", "apt-mark hold containerd docker.io runc")
    assert "unattended-upgrades may" not in play(single, check=True).said
    root(single, "spark1", f"apt-mark unhold containerd docker.io runc; rm {conf}")


def test_a_toolkit_from_nowhere_is_refused(single: Lab) -> None:
    root(single, "spark1", "apt-get purge -qq -y nvidia-container-toolkit")
    refused(play(single, container_toolkit_repository_url=""), "have no nvidia-container-toolkit")


def test_a_proxy_that_is_none_is_named(single: Lab) -> None:
    run = play(single, container_toolkit_proxy="http://127.0.0.1:9", **MIRROR)
    assert run.status == "failed"
    assert "Connection refused" in run.said


def test_the_toolkit_is_installed_from_a_repository_that_is_added(single: Lab) -> None:
    docker = root(single, "spark1", "dpkg-query -W docker.io containerd runc; docker version -f '{{.Server.Version}}'")
    foretold = good(play(single, check=True, **MIRROR))
    done = good(play(single, **MIRROR))
    assert planned(foretold) == made(done)
    assert version(single) == "1.20.0-1"
    sources = root(single, "spark1", "cat /etc/apt/sources.list.d/dgx-spark-container-toolkit.sources")
    assert "Signed-By: /etc/apt/keyrings/dgx-spark-container-toolkit.asc" in sources
    for check in (False, True):
        assert changes(good(play(single, check=check, **MIRROR))) == {}
    assert docker == root(
        single, "spark1", "dpkg-query -W docker.io containerd runc; docker version -f '{{.Server.Version}}'"
    )


def test_it_is_pinned_to_a_version_that_is_there(single: Lab) -> None:
    refused(play(single, container_toolkit_version="1.21.0-1", **MIRROR), "1.20.0-1, 1.19.0-1, 1.18.2-1")
    good(play(single, container_toolkit_version="1.18.2-1", **MIRROR))
    assert version(single) == "1.18.2-1"
    root(single, "spark1", "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get upgrade -qq -y")
    assert version(single) == "1.18.2-1"
    assert changes(good(play(single, container_toolkit_version="1.18.2-1", **MIRROR))) == {}


def test_a_changed_package_is_refused_by_its_signature(single: Lab) -> None:
    root(single, "spark1", "apt-get purge -qq -y nvidia-container-toolkit")
    good(undo(single))
    fault = json.dumps({"service": "apt", "kind": "content", "match": "InRelease", "at_byte": 300, "times": None})
    curl = f"curl -sS -X POST http://{single.internet}:9000/faults -d '{fault}'"
    root(single, "spark1", curl)
    run = play(single, **MIRROR)
    assert run.status == "failed"
    assert "cannot be installed on spark1" in run.words
    root(single, "spark1", f"curl -sS -X DELETE http://{single.internet}:9000/faults")
    good(play(single, **MIRROR))


def test_a_mode_that_knows_no_gpus_option_is_named(single: Lab) -> None:
    ctk = "nvidia-ctk config --in-place --config-file /etc/nvidia-container-runtime/config.toml --set"
    root(single, "spark1", f"{ctk} nvidia-container-runtime.mode=cdi")
    run = play(single)
    assert run.status == "failed", run.said
    root(single, "spark1", f"{ctk} nvidia-container-runtime.mode=auto")
    good(play(single))


def test_what_was_installed_goes_if_that_is_asked_for(single: Lab) -> None:
    good(undo(single))
    assert version(single), "a package stays"
    assert root(single, "spark1", "ls /var/lib/dgx-spark") == "packages.json"
    foretold = good(undo(single, check=True, spark_undo_packages=True))
    done = good(undo(single, spark_undo_packages=True))
    assert made(foretold) == made(done) == {"spark1": {"Remove the packages that this role installed"}}
    assert root(single, "spark1", "dpkg-query -W -f '${Status}' nvidia-container-toolkit 2>/dev/null || true") == ""
    assert root(single, "spark1", "ls -d /var/lib/dgx-spark 2>/dev/null || true") == ""


def test_what_apt_was_told_goes(single: Lab) -> None:
    good(undo(single))
    assert root(single, "spark1", "find /etc/apt /usr/share/keyrings -name '*dgx-spark*'") == ""
    assert changes(good(undo(single))) == {}
