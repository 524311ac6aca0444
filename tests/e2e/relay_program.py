# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node exporter as of a Spark whose clock is 30 s ahead and whose disk is full: ``python3 - ADDRESS:PORT TO``.

It relays the one that runs, and changes two of its figures. The Sparks of a lab have one clock, and the machine's disk.
"""

from __future__ import annotations

import http.server
import re
import sys
import urllib.request

AHEAD_S = 30.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def changed(text: str) -> str:
    text = re.sub(r"^(node_time_seconds) (\S+)$", lambda one: f"{one[1]} {float(one[2]) + AHEAD_S}", text, flags=re.M)
    return re.sub(r'^(node_filesystem_avail_bytes\{.*fstype="ext4".*\}) \S+$', r"\1 1024", text, flags=re.M)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with OPENER.open(sys.argv[2], timeout=10) as reply:
            body = changed(reply.read().decode()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    address, _colon, port = sys.argv[1].rpartition(":")
    http.server.ThreadingHTTPServer((address, int(port)), Handler).serve_forever()
