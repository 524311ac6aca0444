# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""update.yml on a pair that serves: a package and a reboot on one Spark after the other, while requests come.

The package is made for the test and lies in a repository on each Spark, so that nothing else is upgraded.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import Iterator

import pytest

from .conftest import SERVED, SPARKS, Pair, eventually
from .test_lifecycle import boot, good

pytestmark = pytest.mark.matrix

BUILD = """set -e
install -d /srv/update/pool /tmp/build/DEBIAN
cat > /tmp/build/DEBIAN/control <<'END'
Package: update-probe
Version: {version}
Architecture: all
Maintainer: none
Description: none
END
printf '#!/bin/sh\\nexit {status}\\n' > /tmp/build/DEBIAN/postinst
chmod 755 /tmp/build/DEBIAN/postinst
rm -f /srv/update/pool/*
dpkg-deb --build /tmp/build /srv/update/pool/update-probe_{version}_all.deb
rm -r /tmp/build
cd /srv/update
deb=pool/update-probe_{version}_all.deb
dpkg-deb --field $deb > Packages
echo "Filename: ./$deb" >> Packages
echo "Size: $(stat -c %s $deb)" >> Packages
echo "SHA256: $(sha256sum $deb | cut -d' ' -f1)" >> Packages
"""
AWAY = "mkdir /root/sources && mv /etc/apt/sources.list* /root/sources/ && mkdir -p /etc/apt/sources.list.d"
BACK = "rm -r /etc/apt/sources.list* && mv /root/sources/* /etc/apt/ && rmdir /root/sources"
SOURCE = "deb [trusted=yes] file:/srv/update ./\n"
ASK = """import json, time, urllib.request
body = json.dumps({"model": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}).encode()
end = time.time() + 1500
while time.time() < end:
    request = urllib.request.Request(
        "http://127.0.0.1:8355/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            said = json.load(reply)
        good = bool(said["choices"][0]["message"]["content"])
        line = "answer" if good else f"false success: {said}"
    except (OSError, ValueError, KeyError, IndexError) as error:
        line = f"error {type(error).__name__}"
    with open("/root/asked", "a") as log:
        log.write(line + "\\n")
    time.sleep(1)
"""


def offer(pair: Pair, spark: str, version: str, status: int = 0) -> None:
    """Have a Spark's own repository offer a version of the package, whose installation ends with a status."""
    pair.host(spark).check_output("sudo sh -c %s", BUILD.format(version=version, status=status))


def version(pair: Pair, spark: str) -> str:
    return pair.host(spark).check_output("dpkg-query -W -f '${Version}' update-probe")


@pytest.fixture(scope="module")
def outdated(pair: Pair, first: object) -> Iterator[Pair]:
    """A pair that serves, each Spark with an old package, and with no other source than its own."""
    for spark in SPARKS:
        host = pair.host(spark)
        offer(pair, spark, "1")
        host.check_output("sudo dpkg --install /srv/update/pool/update-probe_1_all.deb")
        host.check_output("sudo sh -c %s", AWAY)
        host.check_output("sudo sh -c %s", f"printf '{SOURCE}' > /etc/apt/sources.list")
        offer(pair, spark, "2")
        host.check_output("sudo apt-get update")
    yield pair
    for spark in SPARKS:
        pair.host(spark).run("sudo sh -c %s", BACK)
        pair.host(spark).run("sudo sh -c 'dpkg --purge --force-all update-probe; rm -rf /srv/update'")


@contextmanager
def asking(pair: Pair) -> Iterator[None]:
    """Requests on the leader, one after the other, also after its reboot, each noted."""
    leader = pair.host("spark1")
    leader.check_output("sudo sh -c %s", f"cat > /root/ask.py <<'END'\n{ASK}END\n")
    unit = "[Service]\nExecStart=/usr/bin/python3 /root/ask.py\n[Install]\nWantedBy=multi-user.target\n"
    leader.check_output("sudo sh -c %s", f"printf '{unit}' > /etc/systemd/system/asking.service".replace("\n", "\\n"))
    leader.check_output("sudo systemctl enable --now --no-reload asking.service")
    eventually(lambda: "answer" in leader.run("sudo cat /root/asked").stdout, True, seconds=60)
    try:
        yield
    finally:
        leader.run("sudo systemctl disable --now --no-reload asking.service")
        leader.run("sudo rm -f /etc/systemd/system/asking.service /root/ask.py")


def test_a_dry_run_lists_what_would_be_updated_and_changes_nothing(outdated: Pair) -> None:
    boots = {spark: boot(outdated, spark) for spark in SPARKS}
    run = good(outdated.play("update.yml", check=True, **SERVED))
    shown = run.results("Show what would be updated")
    assert {spark: shown[spark]["msg"]["packages"] for spark in SPARKS} == {
        spark: ["update-probe 1 -> 2"] for spark in SPARKS
    }
    assert {version(outdated, spark) for spark in SPARKS} == {"1"}
    assert {spark: boot(outdated, spark) for spark in SPARKS} == boots
    assert outdated.asked()


def test_both_sparks_are_updated_one_after_the_other(outdated: Pair) -> None:
    boots = {spark: boot(outdated, spark) for spark in SPARKS}
    with asking(outdated):
        good(outdated.play("update.yml", spark_drain_seconds=30, **SERVED))
        noted = outdated.host("spark1").check_output("sudo cat /root/asked").splitlines()
    assert [line for line in noted if line.startswith("false")] == []
    assert any(line.startswith("error") for line in noted), "nothing was ever down, so that nothing was tried"
    assert noted[-1] == "answer" or outdated.asked()
    assert {version(outdated, spark) for spark in SPARKS} == {"2"}
    assert all(boot(outdated, spark) not in ("", boots[spark]) for spark in SPARKS)
    assert outdated.asked()


def test_what_is_up_to_date_is_not_touched(outdated: Pair) -> None:
    boots = {spark: boot(outdated, spark) for spark in SPARKS}
    run = good(outdated.play("update.yml", **SERVED))
    assert run.changed == {}, run.made()
    assert {spark: boot(outdated, spark) for spark in SPARKS} == boots


def test_a_second_spark_that_fails_leaves_the_first_one_serving_alone(outdated: Pair) -> None:
    """The lab's model fits on one Spark."""
    offer(outdated, "spark1", "3")
    offer(outdated, "spark2", "3", status=1)
    run = outdated.play("update.yml", spark_drain_seconds=5, **SERVED)
    assert run.status == "failed"
    assert "spark2 did not come through the update" in run.words
    assert version(outdated, "spark1") == "3"
    assert outdated.asked()
    cluster = json.loads(outdated.host("spark1").check_output("sudo cat /etc/dgx-spark/trtllm/cluster.json"))
    assert [node["name"] for node in cluster["nodes"]] == ["spark1"]
    # Once it is mended, both serve again.
    offer(outdated, "spark2", "4")
    good(outdated.play("update.yml", **SERVED))
    good(outdated.serve())
    assert outdated.asked()
