# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the monitoring is optional, on one virtual Spark: Grafana, DCGM's exporter and the journal's limit.

Prometheus, Docker, the registry and the journal are real; Grafana and the exporter are stand-ins of the size of a page.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import Lab, Run, eventually, taken_down

pytestmark = pytest.mark.matrix

PLAY = "monitoring.yml"
PROGRAM = Path(__file__).parent / "watching_program.py"
IMAGE = "nvcr.test/lab/watching"
PASSWORD = "/etc/dgx-spark/monitoring/grafana/secrets/admin_password"
LIMIT = "/etc/systemd/journald.conf.d/90-dgx-spark-monitoring.conf"
#: an image of the Spark's own Python, with the stand-in as both of its programs
BUILD = r"""
set -eu
work=$(mktemp -d)
mkdir -p $work/usr/local/bin
cat >$work/run.py
(echo '#!/usr/bin/python3 -B'; cat $work/run.py) >$work/usr/local/bin/grafana
chmod 755 $work/usr/local/bin/grafana
python=$(readlink -f /usr/bin/python3)
needed=$(ldd $python /bin/sh | grep -o '/[^ :]*' | sort -u | grep -v '^/bin/sh\|^/usr/bin')
tar --create --dereference --hard-dereference --exclude=__pycache__ --exclude=test $python /usr/bin/python3 /bin/sh \
  $needed /usr/lib/$(basename $python) -C $work run.py usr >$work.tar
docker import --change 'ENTRYPOINT ["/usr/bin/python3", "-B", "/run.py"]' $work.tar {image}:1
rm -r $work $work.tar
docker push {image}:1
docker image rm {image}:1 >&2
"""


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    one = Lab(tmp_path_factory.mktemp("options"), variables={"virtual_spark_count": 1, "monitoring_retention_gb": 1})
    one.come()
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def image(spark: Lab) -> str:
    """The stand-in's image in the lab's registry, by its digest."""
    text = base64.b64encode(PROGRAM.read_bytes()).decode()
    script = BUILD.replace("{image}", IMAGE)
    said = root(spark, f"echo {text} | base64 --decode | sh -c {shlex.quote(script)}")
    match = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
    assert match, said
    return f"{IMAGE}@{match[1]}"


@pytest.fixture(scope="module")
def watched(spark: Lab, image: str) -> Lab:
    """The Spark, with all of it, as a dry run has foretold it."""
    spark.variables.update(
        monitoring_grafana=True,
        monitoring_grafana_image=image,
        monitoring_dcgm_image=image,
        monitoring_journal_max_gb=1,
    )
    foretold = good(spark.play(PLAY, check=True))
    assert root(spark, "docker ps --all --quiet; docker image ls --quiet") == ""
    run = good(spark.play(PLAY))
    wanted = {
        "Limit the journal",
        "Pull the images of the monitoring",
        "Start the monitoring's containers",
    }
    hidden = {"Set the password of Grafana's admin", "Write Alertmanager's configuration"}
    assert wanted | hidden <= foretold.planned()["spark1"]
    assert run.made()["spark1"] == foretold.planned()["spark1"] - hidden
    return spark


def good(run: Run) -> Run:
    assert run.status == "successful", run.said
    return run


def root(lab: Lab, command: str) -> str:
    """What a command prints on the Spark, as root."""
    return str(lab.host("spark1").check_output(f"sudo sh -c {shlex.quote(command)}"))


def grafana(lab: Lab, path: str, word: str) -> str:
    """The status that Grafana answers to its admin; not by sudo, which would write the password into the journal."""
    ask = f"curl --silent --output /dev/null --write-out '%{{http_code}}' --user admin:{word}"
    return str(lab.host("spark1").check_output(f"{ask} http://127.0.0.1:3000{path}"))


def test_a_second_run_changes_nothing(watched: Lab) -> None:
    again = good(watched.play(PLAY))
    assert again.changed == {}, again.said
    assert good(watched.play(PLAY, check=True)).planned() == {}


def test_grafana_is_the_admin_s_alone_and_nobody_else_reads_the_password(watched: Lab) -> None:
    word = root(watched, f"cat {PASSWORD}")
    assert len(word) == 32
    assert root(watched, f"stat --format '%a %u' {PASSWORD}") == "600 472"
    assert grafana(watched, "/api/search", word) == "200"
    assert grafana(watched, "/api/search", "admin") == "401"
    assert word not in root(watched, "docker inspect dgx-spark-grafana; ps -eo args; journalctl --boot --no-pager")
    about = json.loads(root(watched, "docker inspect dgx-spark-grafana"))[0]
    assert (about["Config"]["User"], about["HostConfig"]["ReadonlyRootfs"]) == ("472", True)
    assert about["HostConfig"]["CapDrop"] == ["ALL"]
    listening = root(watched, "ss --listening --tcp --numeric --no-header")
    assert re.findall(r"(\S+):3000\s", listening) == ["127.0.0.1"]


def test_the_report_says_where_the_password_is_and_not_what_it_is(watched: Lab) -> None:
    run = good(watched.play(PLAY))
    assert "admin_password" in run.said
    assert root(watched, f"cat {PASSWORD}") not in run.said
    assert "it shows 4 dashboards to its admin; it reads Prometheus" in run.said


def test_another_password_is_taken_and_one_that_was_changed_in_grafana_is_left(watched: Lab) -> None:
    run = good(watched.play(PLAY, monitoring_grafana_password="another-s3cret"))
    assert "another-s3cret" not in run.said
    assert grafana(watched, "/api/search", "another-s3cret") == "200"
    assert good(watched.play(PLAY, monitoring_grafana_password="another-s3cret")).changed == {}
    root(watched, "echo changed-there >/var/lib/dgx-spark-grafana/password")
    run = good(watched.play(PLAY, monitoring_grafana_password="another-s3cret"))
    assert (run.changed, "was changed in Grafana" in run.said) == ({}, True)


def test_the_journal_has_a_limit(watched: Lab) -> None:
    assert "SystemMaxUse=1000000000" in root(watched, f"cat {LIMIT}")
    said = root(watched, "journalctl --unit systemd-journald --boot --no-pager --output cat")
    assert re.search(r"max 953\.6M", said.splitlines()[-1]) or "max 953.6M" in said


def test_a_download_is_told_while_it_runs(watched: Lab) -> None:
    own = ".cache/huggingface/.dgx-spark"
    about = json.dumps({"what": "lab/tiny-chat downloaded", "bytes": 8, "bytes_there": 2, "began": 1})
    write = f"while sleep 1; do echo {shlex.quote(about)} >{own}/models--lab--tiny-chat.progress; done"
    watched.host("spark1").check_output(f"mkdir -p {own}")
    user = watched.host("spark1").check_output("id --user --name")
    told = "curl --silent http://127.0.0.1:9100/metrics | grep -c '^dgx_spark_transfer_there_bytes.* 2$' || true"
    root(
        watched,
        f"systemd-run --quiet --collect --unit slow --uid {user} --working-directory=~ sh -c {shlex.quote(write)}",
    )
    try:
        eventually(lambda: root(watched, told), "1", seconds=30)
    finally:
        root(watched, "systemctl stop slow")
    eventually(lambda: root(watched, told), "0", seconds=40)


def test_dcgm_s_exporter_needs_the_runtime_and_tells_prometheus(watched: Lab) -> None:
    if "nvidia" not in root(watched, "docker info --format '{{json .Runtimes}}'"):
        refused = watched.play(PLAY, monitoring_dcgm=True)
        assert refused.status == "failed"
        assert "Docker has no runtime nvidia" in refused.words
        good(
            watched.play([{"hosts": "spark", "gather_facts": False, "roles": ["sparkops.dgx_spark.container_toolkit"]}])
        )
    good(watched.play(PLAY, monitoring_dcgm=True))
    query = "http://127.0.0.1:9090/api/v1/query?query=DCGM_FI_DEV_POWER_USAGE"
    eventually(lambda: len(ask(watched, query)["data"]["result"]), 1, seconds=40)
    assert good(watched.play(PLAY, monitoring_dcgm=True)).changed == {}
    good(watched.play(PLAY))
    assert "dcgm" not in root(watched, "docker ps --all --format '{{.Names}}'")


def ask(lab: Lab, url: str) -> Any:
    return json.loads(root(lab, f"curl --silent --fail '{url}'"))


def test_grafana_goes_and_comes_back_with_what_it_kept(watched: Lab) -> None:
    good(watched.play(PLAY, monitoring_grafana=False))
    assert root(watched, "docker ps --all --quiet") == ""
    good(watched.play(PLAY))
    assert grafana(watched, "/api/search", "changed-there") == "200"


def test_an_undo_leaves_nothing_of_it(watched: Lab) -> None:
    good(watched.play(PLAY, spark_monitoring=False))
    assert root(watched, "docker ps --all --quiet; docker image ls --quiet") == ""
    left = root(
        watched, "ls -d /etc/systemd/journald.conf.d /var/lib/dgx-spark-grafana /etc/dgx-spark 2>/dev/null || true"
    )
    assert left == ""
