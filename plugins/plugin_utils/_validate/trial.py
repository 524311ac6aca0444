# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of actions that try something in a container on a host, and judge on the controller what came of it.

This plugin util is private to the collection.
"""

from __future__ import annotations

import base64
import inspect
import json
import time
from types import ModuleType
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import ask, watch
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import CHAT, COMPLETION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import FOLDER

MODULE = "sparkops.dgx_spark.engine_trial"
EVERY = 10  # seconds between two lines of progress
LONGEST_PAUSE = 5.0  # seconds, far less than the container's patience
WHY = {
    watch.TIME: "it was ended, since it took longer than {seconds} s",
    watch.LEFT: "it ended itself, since nobody looked after it any more",
    watch.ASKED: "somebody ended its container",
    "memory": "the kernel ended it for want of memory",
}


#: options of what asks a server; the fragment ``validation.server`` documents them
SERVER: dict[str, Any] = {
    "image": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "model": {"type": "str", "required": True},
    "path": {"type": "str", "choices": [CHAT, COMPLETION], "default": CHAT},
    "gap_seconds": {"type": "float", "default": 60},
}


class TrialFailedError(Exception):
    """What was tried did not do what it is to do. The message names host, cause and mend."""


class TrialAction(ActionBase):
    """Validates the arguments, and calls :meth:`validate`, which calls :meth:`tried`."""

    #: options, as an argument_spec
    SPEC: ClassVar[dict[str, Any]] = {}
    #: what is tried, in a word
    WHAT: ClassVar[str] = "trial"

    def validate(self, asked: dict[str, Any], host: str) -> dict[str, Any]:
        """Return what the task returns. :raises TrialFailedError: with a sentence; what else it returns is kept."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run on the controller."""
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        _validated, asked = self.validate_argument_spec(argument_spec=self.SPEC)
        if self._task.check_mode:
            return {"changed": False, "skipped": True, "msg": "nothing is tried in check mode"}
        self.found: dict[str, Any] = {}
        try:
            self.found.update(self.validate(asked, self._task_vars["inventory_hostname"]))
        except TrialFailedError as error:
            return {"changed": False, "failed": True, **self.found, "msg": str(error)}
        return {"changed": False, **self.found, "at": time.time()}

    def tried(self, asked: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Run a command to its end; return what the module said last of it.

        :param asked: ``image`` and ``seconds``. :param options: of the module.
        :raises TrialFailedError: where it did not start, or was ended.
        """
        host, seconds = self._task_vars["inventory_hostname"], asked["seconds"]
        files = {**options.pop("files", {}), "watch.py": source(watch)}
        try:
            self._call(
                state="started",
                what=self.WHAT,
                image=asked["image"],
                seconds=seconds,
                files={name: base64.b64encode(data).decode() for name, data in files.items()},
                **options,
            )
            seen = self._watched(host)
        finally:
            self._execute_module(MODULE, module_args={"state": "absent"}, task_vars=self._task_vars)
        if seen["why"]:
            said = WHY.get(seen["why"], seen["why"]).format(seconds=seconds)
            raise TrialFailedError(f"{host}: {self.WHAT}: {said}. {last_words(seen['lines'])}")
        return seen

    def asked_all(self, asked: dict[str, Any], order: ask.Order, failure: str) -> dict[str, Any]:
        """Send requests to a server from its own host, by ``ask.py`` in a container without the GPU.

        :returns: its outcome. :raises TrialFailedError: with these words where there is none.
        """
        seen = self.tried(
            asked,
            gpu=False,
            command=["python3", f"{FOLDER}/ask.py", FOLDER],
            files={"ask.py": source(ask), ask.ORDER: json.dumps(order).encode()},
        )
        if not seen["result"]:
            host = self._task_vars["inventory_hostname"]
            raise TrialFailedError(f"{host}: {failure}. {last_words(seen['lines'])}")
        return dict(seen["result"])

    def _watched(self, host: str) -> dict[str, Any]:
        began = shown = time.monotonic()
        pause = 0.5
        while True:
            time.sleep(pause)
            seen = self._call(state="watched")
            if not seen["running"]:
                return seen
            now = time.monotonic()
            if now - shown >= EVERY:
                shown = now
                line = next((line.strip() for line in reversed(seen["lines"]) if line.strip()), "")
                self._display.display(f"{host}: {self.WHAT}, {now - began:.0f} s: {line[-140:]}")
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _call(self, **options: Any) -> dict[str, Any]:
        done = self._execute_module(MODULE, module_args=options, task_vars=self._task_vars)
        if done.get("failed"):
            raise TrialFailedError(f"{self._task_vars['inventory_hostname']}: {done.get('msg', done)}")
        return done


def source(module: ModuleType) -> bytes:
    """The text of a program that is one file."""
    return inspect.getsource(module).encode()


def last_words(lines: list[str], count: int = 8) -> str:
    """The last lines of an output as one sentence.

    >>> last_words(["a", "", "b "]), last_words([])
    ('It said last: a / b', 'It said nothing.')
    """
    said = [line.strip()[-300:] for line in lines if line.strip()][-count:]
    return f"It said last: {' / '.join(said)}" if said else "It said nothing."
