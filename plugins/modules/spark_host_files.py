#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_files
short_description: Write the files of a host's parts, or restore what was there before
version_added: 0.1.0
description:
  - >-
    Before the first change of a file its original, or the fact that there was none, is kept in the ledger of
    M(sparkops.dgx_spark.ledger_file). Directories that are missing are made, and noted.
  - >-
    Restoring puts the originals back, byte for byte, ends the unit of a part before, and removes the directories that
    were made where nothing is left in them. It fails, and restores nothing, where others have changed a file since.
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
  files:
    description: The files to write.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: One of the files that the role C(spark_host) cares for.
        type: str
        required: true
      content:
        description: All that is in it.
        type: str
        required: true
  restored:
    description: The files to restore. A file without an original stays as it is.
    type: list
    elements: str
    default: []
  all_restored:
    description: Restore all files that the role C(spark_host) cares for.
    type: bool
    default: false
  force:
    description: Whether originals are put back even if others have changed a file since, which loses their change.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Have logind keep shared memory
  sparkops.dgx_spark.spark_host_files:
    files:
      - path: /etc/systemd/logind.conf.d/50-dgx-spark.conf
        content: |
          [Login]
          RemoveIPC=no
  become: true

- name: Restore all files
  sparkops.dgx_spark.spark_host_files:
    all_restored: true
  become: true
"""

RETURN = r"""
written:
  description: The files that were written, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/default/earlyoom]
restored:
  description: The files that were restored, or would be.
  returned: success
  type: list
  elements: str
  sample: []
reload:
  description: The commands that have programs follow these files.
  returned: success
  type: list
  elements: list
  sample: [[systemctl, restart, earlyoom.service]]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, make_directories
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import Originals, read_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import read_note, remove_note, write_note
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import layout


class Files:
    """The files of one host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.originals = Originals()
        self.diffs: list[dict[str, str]] = []
        self.made: list[str] = read_note(layout.DIRECTORIES_NOTE, [], lambda one: isinstance(one, str))

    def write(self, path: str, content: str) -> bool:
        """Write a file. Returns whether that changes it."""
        before = read_file(Path(path))
        if before == content.encode():
            return False
        self.diffs.append(diff((before or b"").decode(errors="replace"), content, path))
        if not self.module.check_mode:
            self.make(Path(path).parent)
            self.originals.keep(path)
            self.originals.change(path, content.encode())
            self.originals.settle(path)
        return True

    def make(self, folder: Path) -> None:
        """Make a directory with its parents, and note which were made, the innermost first."""
        missing = [str(one) for one in (folder, *folder.parents) if not one.is_dir()]
        if missing:
            self.made = list(dict.fromkeys([*missing, *self.made]))
            write_note(layout.DIRECTORIES_NOTE, self.made)
            make_directories(folder, 0o755)

    def refuse(self, paths: list[str]) -> None:
        """Fail before anything is restored where others have changed a file."""
        problems = [problem for problem in map(self.originals.problem, paths) if problem]
        if problems and not self.module.params["force"]:
            self.module.fail_json(msg=f"{'; '.join(problems)} (spark_host_undo_force). Nothing was changed.")

    def restore(self, path: str) -> bool:
        """Put an original back. Returns whether that changes the file."""
        if self.originals.record(path) is None:
            return False
        changes = not self.originals.is_restored(path)
        if changes:
            before, after = read_file(Path(path)) or b"", self.originals.original_content(path) or b""
            self.diffs.append(diff(before.decode(errors="replace"), after.decode(errors="replace"), path))
        if not self.module.check_mode:
            self.originals.restore(path)
        return changes

    def tidy(self) -> None:
        """Remove the directories that were made, where they are empty, and forget these."""
        left = []
        for folder in map(Path, self.made):
            if folder.is_dir() and any(folder.iterdir()):
                left.append(str(folder))
            elif folder.is_dir():
                folder.rmdir()
        if left != self.made:
            (write_note if left else lambda path, _left: remove_note(path))(layout.DIRECTORIES_NOTE, left)


def run(module: AnsibleModule, commands: list[list[str]]) -> None:
    """Run commands of which one may fail: a unit that is not there is ended already."""
    for argv in commands:
        module.run_command([module.get_bin_path(argv[0], required=True), *argv[1:]])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "str", "required": True}, "content": {"type": "str", "required": True}},
            },
            "restored": {"type": "list", "elements": "str", "default": []},
            "all_restored": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    back = list(layout.FILES) if asked["all_restored"] else asked["restored"]
    foreign = [path for path in (*back, *(one["path"] for one in asked["files"])) if path not in layout.FILES]
    if foreign:
        module.fail_json(
            msg=f"{' and '.join(foreign)}: the role spark_host cares for no such file. Nothing was changed."
        )
    try:
        files = Files(module)
        files.refuse(back)
        gone = [path for path in back if files.originals.record(path) and not files.originals.is_restored(path)]
        if not module.check_mode:
            run(module, layout.endings(gone))
        restored = [path for path in back if files.restore(path)]
        written = [one["path"] for one in asked["files"] if files.write(one["path"], one["content"])]
        if back and not module.check_mode:
            files.tidy()
    except (FileError, OSError) as error:
        module.fail_json(msg=told(error))
    commands = [argv for argv in layout.reloads([*restored, *written]) if argv not in ended(restored)]
    module.exit_json(
        changed=bool(restored or written), written=written, restored=restored, reload=commands, diff=files.diffs
    )


def ended(restored: list[str]) -> list[list[str]]:
    """The commands that would start what has just been ended."""
    parts = [part for part in layout.PARTS if part.ending and set(part.files) & set(restored)]
    return [list(argv) for part in parts for argv in part.reload]


if __name__ == "__main__":
    main()
