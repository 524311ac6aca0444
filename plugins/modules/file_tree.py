#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: file_tree
short_description: Create, write and remove some directories and files, all in one call
version_added: 0.1.0
description:
  - >-
    Does for small files what a loop over M(ansible.builtin.file) and M(ansible.builtin.copy) does, without the half
    second and the three round trips that each turn of such a loop costs on every host.
  - Each file is replaced in one step, and only if its content differs. Whatever else lies in the directories stays.
  - First O(directories) are created, then O(files) are written, then O(absent) and O(absent_if_empty) are removed.
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
  root:
    description: >-
      The directory that O(files) with a relative path lie below. It and the directories between are created, with mode
      0755, but its parent must be there or be one of O(directories).
    type: path
  absent:
    description: Files, and directories with all that is in them, to remove. Links are removed and not followed.
    type: list
    elements: path
    default: []
  absent_if_empty:
    description: Directories to remove where nothing is left in them.
    type: list
    elements: path
    default: []
  directories:
    description: The directories to create, a parent before what is in it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory. Its parent must be there, or stand before it.
        type: path
        required: true
      mode:
        description: Its mode, in octal digits.
        type: str
        default: "0755"
  files:
    description: The files to write.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file. Its directory must be there, or be one of O(directories), or lie below O(root).
        type: str
        required: true
      content:
        description: All that is in it.
        type: str
        required: true
      mode:
        description: Its mode, in octal digits.
        type: str
        default: "0644"
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Write the configuration of the containers
  sparkops.dgx_spark.file_tree:
    directories:
      - path: /etc/dgx-spark
      - path: /etc/dgx-spark/trtllm
    files:
      - path: /etc/dgx-spark/trtllm/node.json
        content: "{{ node | to_nice_json }}\n"
"""

RETURN = r"""
written:
  description: >-
    The directories that were made and the files that were written, or would be; not those with a new mode alone.
  returned: success
  type: list
  elements: str
  sample: [/etc/dgx-spark/trtllm/node.json]
removed:
  description: What was removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/dgx-spark/trtllm]
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write


def set_mode(module: AnsibleModule, path: Path, mode: str) -> bool:
    """Give a file its mode. Returns whether it had another."""
    return bool(path.exists()) and module.set_mode_if_different(str(path), mode, False)


def umask_of(mode: str) -> int:
    """Return what a new file must not have. Of a mode that is none, which is refused later, that is most.

    >>> oct(umask_of("0600")), oct(umask_of("0644")), oct(umask_of("rw"))
    ('0o177', '0o133', '0o77')
    """
    try:
        return 0o777 & ~int(mode, 8)
    except ValueError:
        return 0o077


def make_directory(module: AnsibleModule, path: Path) -> bool:
    """Make a directory. Returns whether it was not there."""
    if path.is_dir():
        return False
    if path.exists():
        module.fail_json(msg=f"{path} is to be a directory, and is a file: move it away")
    if not module.check_mode:
        path.mkdir()
    return True


def write_file(module: AnsibleModule, path: Path, content: str, mode: str) -> dict[str, str] | None:
    """Have a file say that. Returns what that changes, or nothing.

    :param mode: which a new file has from the first moment on, so that no secret is readable meanwhile.
    """
    if path.is_dir():
        module.fail_json(msg=f"{path} is to be a file, and is a directory: move it away")
    before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if before == content:
        return None
    if not module.check_mode:
        umask = os.umask(umask_of(mode))
        try:
            write(module, path, content)
        finally:
            os.umask(umask)
    return diff(before or "", content, str(path))


def entries(mode: str, kind: str = "path", **more: Any) -> dict[str, Any]:
    """Describe an option that is a list of paths with their modes."""
    options = {"path": {"type": kind, "required": True}, "mode": {"type": "str", "default": mode}, **more}
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def below(root: str, files: list[dict[str, Any]]) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Return the directories that files with a relative path need, and the files with their whole paths."""
    folders = {Path(root)}
    for file in files:
        path = Path(file["path"])
        if not path.is_absolute():
            folders.update(Path(root, one) for one in path.parents)
    directories = [{"path": str(path), "mode": "0755"} for path in sorted(folders)]
    return directories, [{**file, "path": str(Path(root, file["path"]))} for file in files]


def remove(module: AnsibleModule, path: Path) -> bool:
    """Remove a file, a link or a directory with all that is in it. Returns whether it was there."""
    if not path.is_symlink() and not path.exists():
        return False
    if not module.check_mode:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return True


def remove_empty(module: AnsibleModule, path: Path, gone: set[str]) -> bool:
    """Remove a directory in which nothing is left. Returns whether there was one.

    :param gone: paths that are removed in this call, or would be.
    """
    if not path.is_dir() or any(str(entry) not in gone for entry in path.iterdir()):
        return False
    if not module.check_mode:
        path.rmdir()
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directories": entries("0755"),
            "files": entries("0644", "str", content={"type": "str", "required": True}),
            "root": {"type": "path"},
            "absent": {"type": "list", "elements": "path", "default": []},
            "absent_if_empty": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    written, removed, diffs, changed = [], [], [], False
    directories, files = module.params["directories"], module.params["files"]
    if module.params["root"]:
        between, files = below(module.params["root"], files)
        directories = [*directories, *between]
    try:
        for directory in directories:
            path = Path(directory["path"])
            if make_directory(module, path):
                written.append(str(path))
            changed |= set_mode(module, path, directory["mode"])
        for file in files:
            path = Path(file["path"])
            if path.is_file():
                changed |= set_mode(module, path, file["mode"])  # before a secret comes in
            shown = write_file(module, path, file["content"], file["mode"])
            if shown:
                written.append(str(path))
                diffs.append(shown)
            changed |= set_mode(module, path, file["mode"])
        removed += [path for path in module.params["absent"] if remove(module, Path(path))]
        for path in module.params["absent_if_empty"]:
            if remove_empty(module, Path(path), set(removed)):
                removed.append(path)
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename}: {exc.strerror}", written=written, removed=removed)
    module.exit_json(changed=changed or bool(written or removed), written=written, removed=removed, diff=diffs)


if __name__ == "__main__":
    main()
