#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ledger_file
short_description: Keep the originals of files in a ledger, and restore them
version_added: 0.1.0
description:
  - >-
    Keeps the original of a file, that is its content, mode and owner, or the fact that there was none, before the first
    change, so that all changes can be undone. The ledger is C(/var/lib/dgx-spark/originals/), readable by root alone.
  - There is one original for a path. Once it is restored it is forgotten, and the next V(kept) keeps a new one.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: The files. A link is followed. A file need not be there.
    type: list
    elements: path
    required: true
  state:
    description:
      - V(kept) keeps each file as it is now, unless an original is kept already. Use it before the first change.
      - >-
        V(written) records that each file as it is now was written by this collection. Use it after each change, so that
        V(restored) can tell a change that others made.
      - V(restored) restores the original, byte for byte. A file without an original stays as it is.
    type: str
    choices: [kept, written, restored]
    default: kept
  foreign:
    description:
      - What V(restored) does where others have changed one of the files since.
      - V(refuse) fails, and restores none of the files. V(overwrite) restores the original all the same.
      - >-
        V(keep) leaves that file as it is, forgets its original, and warns. Use it for a file of which only a part
        belongs to this collection, and remove that part afterwards (RV(files.restored) is false).
      - >-
        Give V(keep) with O(state=kept) too, before each change of such a file. Then changes that others made
        between two changes of this collection count.
    type: str
    choices: [refuse, overwrite, keep]
    default: refuse
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Keep the original of the netplan file
  sparkops.dgx_spark.ledger_file:
    path: /etc/netplan/40-cx7.yaml

- name: Restore the netplan file
  sparkops.dgx_spark.ledger_file:
    path: /etc/netplan/40-cx7.yaml
    state: restored
"""

RETURN = r"""
files:
  description: One entry for each of O(path), in that order.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file, links resolved.
      type: str
      sample: /etc/netplan/40-cx7.yaml
    existed:
      description: Whether there was a file when the original was kept, null if none is kept.
      type: bool
      sample: false
    original:
      description: Where the original's content is kept, null if there is none, or no longer.
      type: str
      sample: /var/lib/dgx-spark/originals/%2Fetc%2Fnetplan%2F40-cx7.yaml
    restored:
      description: >-
        With O(state=restored), whether the file is its original now, or would be. False for a file without an original,
        and for one that was left as it is.
      type: bool
      sample: true
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    ABSENT,
    OriginalError,
    Originals,
    digest_of,
    read_file,
)


class Task:
    """One run of the module over the ledger."""

    def __init__(self, module: AnsibleModule) -> None:
        self.originals = Originals()
        self.check_mode: bool = module.check_mode
        self.foreign: str = module.params["foreign"]
        self.warnings: list[str] = []
        self.changed = False
        self.diffs: list[dict[str, str]] = []

    def keep(self, path: str) -> None:
        """Keep the original, unless one is kept already."""
        if self.originals.record(path) is None:
            self.changed = True
            if not self.check_mode:
                self.originals.keep(path)
        elif self.foreign == "keep" and not self.check_mode:
            self.originals.note_foreign(path)

    def written(self, path: str) -> None:
        """Record that the file as it is now was written by this collection."""
        record = self.originals.record(path)
        if record is not None and record.written != digest_of(read_file(Path(path))):
            self.changed = True
            if not self.check_mode:
                self.originals.note_written(path, record.written or record.digest)

    def refuse(self, paths: list[str]) -> None:
        """Fail where others have changed a file whose original is to be restored."""
        problems = [problem for problem in map(self.originals.problem, paths) if problem]
        if problems and self.foreign == "refuse":
            raise OriginalError("; ".join(problems))

    def restore(self, path: str) -> bool:
        """Restore the original. Returns whether the file is its original then."""
        record = self.originals.record(path)
        if record is None:
            return False
        # A run that ended between a change and its record leaves open whose the file is now.
        unknown = record.written is None and not self.originals.is_restored(path)
        if self.foreign == "keep" and (unknown or self.originals.problem(path)):
            self.warnings.append(f"{path} was changed by another program or person: it is not restored as a whole.")
            self.changed = True
            if not self.check_mode:
                self.originals.forget(path)
            return False
        contents = read_file(Path(path)), self.originals.original_content(path)
        before, later = ((content or b"").decode(errors="replace") for content in contents)
        self.diffs.append(diff(before, later, path))
        self.changed |= not self.originals.is_restored(path)
        if not self.check_mode:
            self.originals.restore(path)
        return True

    def describe(self, path: str, **more: Any) -> dict[str, Any]:
        """Return what is kept of a file."""
        record, kept = self.originals.record(path), self.originals.content_path(path)
        existed = None if record is None else record.digest != ABSENT
        return {"path": path, "existed": existed, "original": str(kept) if kept.exists() else None, **more}


def run(task: Task, paths: list[str], state: str) -> list[dict[str, Any]]:
    """Bring all files to the state. Returns one description for each."""
    files = []
    if state == "restored":
        task.refuse(paths)
    for path in paths:
        known = task.describe(path)
        if state == "restored":
            files.append({**known, "restored": task.restore(path), "original": task.describe(path)["original"]})
            continue
        (task.keep if state == "kept" else task.written)(path)
        files.append(task.describe(path))
    return files


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            "state": {"type": "str", "choices": ["kept", "written", "restored"], "default": "kept"},
            "foreign": {"type": "str", "choices": ["refuse", "overwrite", "keep"], "default": "refuse"},
        },
        supports_check_mode=True,
    )
    task = Task(module)
    try:
        files = run(task, [os.path.realpath(path) for path in module.params["path"]], module.params["state"])
    except OriginalError as exc:
        module.fail_json(msg=str(exc))
    for warning in task.warnings:
        module.warn(warning)
    module.exit_json(changed=task.changed, files=files, diff=task.diffs)


if __name__ == "__main__":
    main()
