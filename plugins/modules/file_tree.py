#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: file_tree
short_description: Have some directories and files, all in one call
version_added: "0.1.0"
description:
  - >-
    Does for small files what a loop over M(ansible.builtin.file) and M(ansible.builtin.copy) does, without the half
    second and the three round trips that each turn of such a loop costs on every host.
  - Each file is replaced in one step, and only if its content differs. Whatever else lies in the directories stays.
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
  directories:
    description: The directories, a parent before what is in it.
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
    description: The files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file. Its directory must be there, or be one of O(directories).
        type: path
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
- name: Write what the containers are told
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
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write


def set_mode(module: AnsibleModule, path: Path, mode: str) -> bool:
    """Give a file its mode. Returns whether it had another."""
    return bool(path.exists()) and module.set_mode_if_different(str(path), mode, False)


def make(module: AnsibleModule, path: Path) -> bool:
    """Make a directory. Returns whether it was not there."""
    if path.is_dir():
        return False
    if path.exists():
        module.fail_json(msg=f"{path} is to be a directory, and is a file: move it away")
    if not module.check_mode:
        path.mkdir()
    return True


def have_file(module: AnsibleModule, path: Path, content: str) -> dict[str, str] | None:
    """Have a file say that. Returns what that changes, or nothing."""
    if path.is_dir():
        module.fail_json(msg=f"{path} is to be a file, and is a directory: move it away")
    before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if before == content:
        return None
    if not module.check_mode:
        write(module, path, content)
    return {"before_header": str(path), "after_header": str(path), "before": before or "", "after": content}


def entries(mode: str, **more: Any) -> dict[str, Any]:
    """Describe an option that is a list of paths with their modes."""
    options = {"path": {"type": "path", "required": True}, "mode": {"type": "str", "default": mode}, **more}
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directories": entries("0755"),
            "files": entries("0644", content={"type": "str", "required": True}),
        },
        supports_check_mode=True,
    )
    written, diffs, changed = [], [], False
    try:
        for directory in module.params["directories"]:
            path = Path(directory["path"])
            if make(module, path):
                written.append(str(path))
            changed |= set_mode(module, path, directory["mode"])
        for file in module.params["files"]:
            path = Path(file["path"])
            diff = have_file(module, path, file["content"])
            if diff:
                written.append(str(path))
                diffs.append(diff)
            changed |= set_mode(module, path, file["mode"])
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename}: {exc.strerror}", written=written)
    module.exit_json(changed=changed or bool(written), written=written, diff=diffs)


if __name__ == "__main__":
    main()
