# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, driven by its DevTools protocol over a pipe; the standard library is enough for that.

Its own window is never narrower than 500 pixels, so a phone's screen is asked for by the protocol.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next((path for path in map(shutil.which, NAMES) if path), "")
_SECONDS = 60
_IN, _OUT = 3, 4  # where the program reads and writes


class Browser:
    """One page of one browser. ``said`` is what its console says, and what threw."""

    def __init__(self, work: Path) -> None:
        self.said: list[str] = []
        self._last, self._rest = 0, b""
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        options = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", "--no-first-run"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []

        def place() -> None:
            high = [os.dup(to_read), os.dup(to_write)]
            os.dup2(high[0], _IN)
            os.dup2(high[1], _OUT)

        with (work / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, *options, f"--user-data-dir={work / 'profile'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=place,
                pass_fds=(_IN, _OUT),
            )
        os.close(to_read)
        os.close(to_write)
        self._session = ""
        pages = [one for one in self._ask("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        told = self._ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = told["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, path: Path, width: int, height: int, scheme: str) -> None:
        """Show a page on a screen of this size, to somebody who prefers this colour scheme."""
        self.said.clear()
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._ask("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + _SECONDS
        while self.run("[document.readyState, location.href]") != ["complete", path.as_uri()]:
            assert time.monotonic() < deadline, "the page does not load"

    def run(self, program: str) -> Any:
        """Return the value of an expression on the page."""
        told = self._ask("Runtime.evaluate", expression=program, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def shoot(self, path: Path) -> None:
        """Take a picture of the whole page."""
        told = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self._ask("Browser.close")
        os.close(self._write)
        self._process.wait(_SECONDS)
        os.close(self._read)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        asked = {"id": self._last, "method": method, "params": parameters}
        asked.update({"sessionId": self._session} if self._session else {})
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._last:
                assert "error" not in told, told
                return dict(told["result"])
            self._note(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], _SECONDS)[0], "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _end, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, told: dict[str, Any]) -> None:
        about = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(about["exceptionDetails"].get("exception", {}).get("description")))
        elif told.get("method") == "Log.entryAdded":
            self.said.append(about["entry"]["text"])
        elif told.get("method") == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(about["args"]))
