# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIMULATED: as much of Grafana and of DCGM's exporter as the role monitoring tells and asks, in one image.

As Grafana: it takes its admin's password from the file that its environment names when it makes its data, and from then
on by ``grafana cli`` alone; it serves what its provisioning names. As the exporter: it tells the fields of its CSV.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import sys
import urllib.request
from pathlib import Path

DATA = Path("/var/lib/grafana/password")


def provisioned(kind: str, key: str) -> list[dict]:
    folder = Path(os.environ["GF_PATHS_PROVISIONING"], kind)
    texts = ["".join(line for line in path.open() if not line.startswith("#")) for path in sorted(folder.glob("*.yml"))]
    return [one for text in texts for one in json.loads(text)[key]]


class Grafana(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        login = base64.b64encode(f"admin:{DATA.read_text()}".encode()).decode()
        if path == "/api/health":
            return self.say(200, {"database": "ok", "version": "SIMULATED"})
        if self.headers.get("Authorization") != f"Basic {login}":
            return self.say(401, {"message": "Invalid username or password"})
        if path == "/api/search":
            folders = [Path(one["options"]["path"]) for one in provisioned("dashboards", "providers")]
            pages = [json.loads(page.read_text()) for folder in folders for page in sorted(folder.glob("*.json"))]
            return self.say(200, [{"uid": page["uid"], "type": "dash-db"} for page in pages])
        for source in provisioned("datasources", "datasources"):
            if path == f"/api/datasources/uid/{source['uid']}/health":
                with urllib.request.urlopen(f"{source['url']}/-/healthy", timeout=5) as reply:
                    return self.say(200, {"status": "OK" if reply.status == 200 else "ERROR"})
        return self.say(404, {"message": "not found"})

    def say(self, status: int, answer: object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Exporter(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        rows = [line.split(",") for line in Path(os.environ["DCGM_EXPORTER_COLLECTORS"]).read_text().splitlines()]
        named = [(row[0].strip(), row[1].strip()) for row in rows if not row[0].startswith("#")]
        text = "".join(f'# TYPE {name} {kind}\n{name}{{gpu="0"}} 1\n' for name, kind in named).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    if Path(sys.argv[0]).name == "grafana":
        assert sys.argv[1] == "cli"
        assert sys.argv[-2:] == ["reset-admin-password", "--password-from-stdin"]
        DATA.write_text(sys.stdin.readline().strip())
        sys.exit()
    if "DCGM_EXPORTER_LISTEN" in os.environ:
        address, _colon, port = os.environ["DCGM_EXPORTER_LISTEN"].rpartition(":")
        http.server.ThreadingHTTPServer((address, int(port)), Exporter).serve_forever()
    if not DATA.exists():
        DATA.write_text(Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text().strip())
    where = (os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"]))
    http.server.ThreadingHTTPServer(where, Grafana).serve_forever()
