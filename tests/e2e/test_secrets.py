# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted secrets are looked for after a whole run: on every Spark, in every process, in all that was said."""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from pathlib import Path

import pytest

from .conftest import SPARKS, Pair, stocked, taken_down
from .test_hf_cache import command_lines_with
from .test_internet import in_internet

pytestmark = pytest.mark.matrix
# Where Swarm itself keeps its tokens, readable by root alone.
DOCKERS = "/var/lib/docker/swarm"


def test_no_secret_is_left_anywhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    pair: Pair = stocked(tmp_path_factory.mktemp("secrets"))
    planted = {"spark_hf_token": f"hf_{secrets.token_hex(16)}", "spark_ngc_api_key": f"nvapi-{secrets.token_hex(16)}"}
    try:
        friend = json.dumps({planted["spark_hf_token"]: {"name": "friend", "granted": []}})
        program = f"open('/srv/virtual-internet/hub/tokens.json', 'w').write({friend!r})"
        in_internet(pair, "python3", "-c", program)
        shown: set[str] = set()
        stop = threading.Event()
        samplers = [
            threading.Thread(target=command_lines_with, args=(secret, shown, stop))
            for secret in (*planted.values(), "SWMTKN-")
        ]
        for sampler in samplers:
            sampler.start()
        run = pair.serve(**planted)
        stop.set()
        for sampler in samplers:
            sampler.join()
        assert run.status == "successful", run.said
        assert shown == set(), "a secret is on a command line"
        token = pair.host("spark1").check_output("sudo docker swarm join-token --quiet worker")
        for secret in (*planted.values(), token):
            assert secret not in run.said
            assert secret not in str(run.events)
        for name in SPARKS:
            host = pair.host(name)
            for secret in (*planted.values(), token):
                places = (
                    f"/etc /home /opt /root /run /srv /tmp /usr/local /var --exclude-dir={DOCKERS.rsplit('/', 1)[1]}"
                )
                # The pattern comes by standard input, not to be found on the command line that looks for it.
                looked = host.run(f"echo %s | sudo grep -rlF --devices=skip --file=- {places}", secret)
                found = [path for path in looked.stdout.splitlines() if not path.startswith("/proc")]
                assert found == [], (name, found)
                inspect = "sudo docker ps --all --quiet | xargs --no-run-if-empty sudo docker inspect"
                services = (
                    "sudo docker service ls --quiet 2>/dev/null | xargs --no-run-if-empty sudo docker service inspect"
                )
                assert secret not in host.check_output(f"{inspect}; {services}; sudo journalctl --quiet --boot")
            logs = host.check_output("sudo docker ps --quiet | xargs --max-args 1 sudo docker logs 2>&1")
            assert re.findall(r"KEY=(?![*])\S+", logs) == []
            assert name != "spark1" or "HMAC_KEY=***" in logs, "the launcher's trace of its key"
            keys = "sudo find /etc/dgx-spark/trtllm/ssh -type f -not -name '*.pub' -perm /077"
            assert host.check_output(keys) == ""
            assert host.check_output("sudo stat -c %a /etc/dgx-spark/trtllm/ssh") == "700"
        for path in Path(os.environ.get("TMPDIR", "/tmp")).glob("ansible*/**/*"):
            if path.is_file():
                text = path.read_bytes()
                assert not [name for name, secret in planted.items() if secret.encode() in text], path
    finally:
        taken_down(pair)
