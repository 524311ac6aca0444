# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever HAProxy, openssl, a journal or a file of the gateway has: it is read, or a sentence says what is wrong."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import (
    admin,
    certificate,
    clients,
    config,
    host,
    log,
    use,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import sentence
from damaged import FILES, meant_for_people, texts, values
from hypothesis import given
from hypothesis import strategies as st

CLIENT = dataclasses.asdict(clients.Client("alice", "1" * 64, 60, 4, ("a/b",), created=5.0))
LINE: dict[str, Any] = {
    **{"at": 100.5, "client": "alice", "from": "10.0.0.9", "method": "POST", "path": "/v1/completions", "status": 200},
    **{"model": "a/b", "prompt_tokens": "7", "tokens": "30", "events": "31", "ttft_ms": "12", "ms": 900, "bytes": 5000},
    "end": "--",
}
X509 = (
    "notAfter=Jan  1 00:00:00 2027 GMT\nsha1 Fingerprint=AB:CD\nX509v3 Subject Alternative Name: \n"
    "    DNS:spark1, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:21\n"
)
MAP = "0x7f76fb7395f0 1111 alice\n0x7f76fb739600 2222 bob\n"
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"
CONFIG = "global\n    description dgx-spark-gateway 0123456789abcdef\nfrontend api\n    bind [::]:443 ssl crt /x\n"


def readable(text: str) -> str:
    """A text as it is read from a file."""
    return text.encode(errors="replace").decode()


def answers(text: str) -> admin.Ask:
    """An admin socket that answers everything with a text."""
    return lambda _command: text


TEXTS: dict[str, tuple[Callable[[str], Any], tuple[str, ...]]] = {
    "clients.json": (clients.from_text, (clients.to_text({"alice": clients.Client("alice", "1" * 64)}), "{}", "")),
    "haproxy.cfg": (
        lambda text: [
            config.told_digest(text),
            config.is_as_written(readable(text), readable(text)),
            use.listens(text),
        ],
        (CONFIG,),
    ),
    "openssl x509": (lambda text: certificate.why_new(certificate.read(text), ["spark1"], 0.0), (X509, "")),
    "a name that a certificate is to be for": (lambda text: certificate.split([text]), ("spark1.local", "fd00::1")),
    "a certificate of the owner's": (lambda text: certificate.owners_problem(text, text), (PEM,)),
    "show map": (lambda text: admin.entries(answers(text), "/m"), (MAP, "")),
    "prepare map": (lambda text: admin.replace(answers(text), "/m", {"a": "b"}), (MAP, "New version created: 3")),
    "show info": (lambda text: admin.description(answers(text)), ("Name: HAProxy\ndescription: x 0123\n",)),
    "show ssl cert": (lambda text: admin.certificate(answers(text), "/x"), ("SHA1 FingerPrint: ABCD\n",)),
    "a gateway's journal": (
        lambda text: log.by_client(log.parse(text.splitlines()), 100.0),
        (f"[NOTICE] x\n{json.dumps(LINE)}\n",),
    ),
    "what journalctl complains of": (lambda text: use.problem_of(1, text), ("Failed to open files: Bad message\n",)),
    "a name of a client": (clients.name_problem, ("alice",)),
}


@pytest.mark.parametrize("source", TEXTS)
@given(data=st.data())
def test_any_text_is_read_or_explained(source: str, data: st.DataObject) -> None:
    function, good = TEXTS[source]
    for text in good:
        meant_for_people(function, text)
    meant_for_people(function, data.draw(texts(*good)))


VALUES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "clients.json": (lambda value: clients.from_text(json.dumps(value)), {"alice": CLIENT}),
    "a line of the log": (lambda value: log.by_client(log.parse([json.dumps(value)]), 100.0), LINE),
    "what openssl said": (lambda value: certificate.why_new(value, ["spark1"], 0.0), certificate.read(X509)),
}


@pytest.mark.parametrize("source", VALUES)
@given(data=st.data())
def test_any_value_is_read_or_explained(source: str, data: st.DataObject) -> None:
    function, good = VALUES[source]
    meant_for_people(function, good)
    meant_for_people(function, data.draw(values(good, whole=source != "what openssl said")))


@pytest.mark.parametrize("what", FILES)
def test_whatever_lies_where_a_file_of_the_gateway_belongs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(Layout, "directory", folder)
        places = Layout()
        FILES[what](Path(places.clients))
        FILES[what](Path(places.config))
        for read in (lambda: host.clients_here(places)[1], lambda: host.text_of(places.config)):
            try:
                said = read()
            except OSError as error:
                said = sentence(error)
            assert isinstance(said, str)
            assert "Traceback" not in said
