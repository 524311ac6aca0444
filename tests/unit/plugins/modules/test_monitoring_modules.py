# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of the monitoring ask of Grafana, and what they leave of its options."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import containers, layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.answers import NotWatchedError
from ansible_collections.sparkops.dgx_spark.plugins.modules import monitoring_absent, monitoring_check

WORD = "made-on-the-leader"


class Grafana:
    """SIMULATED: what a Grafana answers, by path, to whom knows its password."""

    def __init__(self) -> None:
        self.word = WORD
        self.answers: dict[str, Any] = {
            "/api/health": {"database": "ok", "version": "13.2.3"},
            "/api/search": [{"uid": "dgx-spark-overview", "type": "dash-db"}],
            f"/api/datasources/uid/{layout.DATASOURCE}/health": {"status": "OK", "message": "it works"},
        }
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.asked.append(path)
                login = f"Basic {base64.b64encode(f'admin:{outer.word}'.encode()).decode()}"
                known = path == "/api/health" or self.headers.get("Authorization") == login
                text = json.dumps(outer.answers.get(path)).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_words: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grafana]:
    """One that listens, and what the host has of it."""
    etc = tmp_path / "grafana"
    (etc / "dashboards").mkdir(parents=True)
    (etc / "dashboards" / "a.json").write_text('{"uid": "dgx-spark-overview"}')
    (etc / "word").write_text(f"{WORD}\n")
    monkeypatch.setattr(monitoring_check, "GRAFANA", layout.GRAFANA._replace(etc=str(etc)))
    monkeypatch.setattr(monitoring_check, "GRAFANA_PASSWORD", str(etc / "word"))
    one = Grafana()
    yield one
    one.server.shutdown()


def test_a_grafana_is_asked_for_its_dashboards_and_for_prometheus(grafana: Grafana) -> None:
    assert monitoring_check.look_at_grafana(grafana.url) == (
        "Grafana 13.2.3 answers; it shows 1 dashboards to its admin; it reads Prometheus"
    )
    assert len(grafana.asked) == 3


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/api/health", {"database": "starting"}, "Grafana's own database is starting"),
        ("/api/search", [], "Grafana does not show dgx-spark-overview"),
        (f"/api/datasources/uid/{layout.DATASOURCE}/health", {"status": "ERROR"}, "does not read Prometheus (ERROR)"),
        ("/api/search", None, "another shape"),
    ],
)
def test_a_grafana_that_lacks_something_is_waited_for(grafana: Grafana, path: str, answer: Any, said: str) -> None:
    grafana.answers[path] = answer
    with pytest.raises(NotWatchedError) as caught:
        monitoring_check.look_at_grafana(grafana.url)
    assert said in str(caught.value)


def test_who_has_changed_the_password_in_grafana_keeps_it(grafana: Grafana) -> None:
    """And is not locked out: one attempt with a wrong password a run, of five that Grafana takes in five minutes."""
    grafana.word = "another"
    assert monitoring_check.look_at_grafana(grafana.url).endswith("so that its dashboards were not looked at")
    assert grafana.asked.count("/api/search") == 1


def test_a_grafana_that_is_not_there_is_waited_for(grafana: Grafana) -> None:
    url = grafana.url
    grafana.server.shutdown()
    grafana.server.server_close()
    with pytest.raises(NotWatchedError, match="does not answer"):
        monitoring_check.look_at_grafana(url)


def test_a_prometheus_that_is_not_there_is_said_to_be_silent(grafana: Grafana) -> None:
    url = grafana.url
    grafana.server.shutdown()
    grafana.server.server_close()
    with pytest.raises(NotWatchedError, match="does not answer"):
        monitoring_check.data(url)


def test_all_that_the_options_leave_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = monitoring_absent.places()
    assert layout.GRAFANA.data in places
    assert layout.JOURNAL in places
    assert any(layout.GRAFANA_PASSWORD.startswith(f"{one}/") for one in places)
    assert any(layout.IMAGES.startswith(f"{one}/") for one in places)
    asked: list[str] = []
    monkeypatch.setattr(Docker, "ask", lambda _self, _method, target: asked.append(target) or [])
    monkeypatch.setattr(containers, "CONTAINERS", (layout.GRAFANA._replace(etc="/etc"),))
    assert containers.remove(Docker(), [], False) == []
    assert asked == ["/containers/json?all=1"]
