# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API: JSON over HTTP, on a port of its own.

    GET    /health       {"ok": true}
    GET    /stats        the ledger
    DELETE /stats        reset it; answers with what it was
    GET    /faults       {"active": [fault, ...], "applied": [{"id", "kind", "at", "service", "method", "path",
                         "client"}, ...]}
    POST   /faults       a fault, or a list of them (all or none): 201 and what is now in force, numbered
    DELETE /faults       take all away and forget what was applied; DELETE /faults/<id>: one of them

Errors are {"error": "..."} with 400, 404 or 405.
"""

from __future__ import annotations

import json

from .faults import FaultError, parse_fault
from .http_server import Handler

_BODY_LIMIT = 1 << 20


class ControlHandler(Handler):
    """One connection of whoever runs the lab. Neither counted nor made to fail."""

    def respond(self) -> None:
        """Answer a call."""
        parts = self.raw_path.strip("/").split("/")
        call = (self.command, parts[0])
        if call == ("GET", "health") and len(parts) == 1:
            self.send_json(200, {"ok": True})
        elif call == ("GET", "stats") and len(parts) == 1:
            self.send_json(200, self.server.ledger.as_json())
        elif call == ("DELETE", "stats") and len(parts) == 1:
            self.send_json(200, self.server.ledger.reset())
        elif call == ("GET", "faults") and len(parts) == 1:
            self.send_json(200, self.server.faults.as_json())
        elif call == ("POST", "faults") and len(parts) == 1:
            self._add()
        elif call == ("DELETE", "faults") and len(parts) <= 2:
            self._remove(parts[1:])
        elif parts[0] in ("health", "stats", "faults"):
            self.send_json(405, {"error": f"{self.command} {self.raw_path}: no such call"})
        else:
            self.send_json(404, {"error": "there are only /health, /stats and /faults"})

    def _add(self) -> None:
        body = b""
        for piece in self.request_body():
            body += piece
            if len(body) > _BODY_LIMIT:
                self.close_connection = True
                self.send_json(400, {"error": "this is too long to be a list of faults"})
                return
        try:
            value = json.loads(body)
            faults = [parse_fault(item) for item in (value if isinstance(value, list) else [value])]
        except FaultError as error:
            self.send_json(400, {"error": str(error)})
        except ValueError as error:
            self.send_json(400, {"error": f"this is not JSON: {error}"})
        else:
            self.server.faults.add(faults)
            self.send_json(201, self.server.faults.as_json())

    def _remove(self, rest: list[str]) -> None:
        if rest and not (rest[0].isascii() and rest[0].isdigit()):
            self.send_json(400, {"error": f"{rest[0]!r} is not the number of a fault"})
            return
        removed = self.server.faults.remove(int(rest[0]) if rest else None)
        if rest and not removed:
            self.send_json(404, {"error": f"there is no fault {rest[0]} in force"})
        else:
            self.send_json(200, self.server.faults.as_json())
