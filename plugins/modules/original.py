#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: original
short_description: Keep what a file was before its first change, and put it back
version_added: "0.1.0"
description:
  - >-
    Keeps the first original of a file, that is its content, mode and owner, or the fact that there was none, so that
    all changes can be undone. Originals lie under C(/var/lib/dgx-spark/originals/), readable by root alone.
  - There is one original for a path. Once it is put back it is forgotten, and the next V(kept) keeps a new one.
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
    description: The file. A link is followed. It need not be there.
    type: path
    required: true
  state:
    description:
      - V(kept) keeps the file as it is now, unless an original of it is kept already. Use it before the first change.
      - >-
        V(written) notes that the file as it is now was written by us. Use it after each change, and V(restored) can
        tell a change that somebody else made.
      - V(restored) puts the original back, byte for byte. Without an original it does nothing.
    type: str
    choices: [kept, written, restored]
    default: kept
  force:
    description: With O(state=restored), put the original back even if somebody else has changed the file since.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Keep the file before it is changed for the first time
  sparkops.dgx_spark.original:
    path: /etc/netplan/40-cx7.yaml

- name: Put it back
  sparkops.dgx_spark.original:
    path: /etc/netplan/40-cx7.yaml
    state: restored
"""

RETURN = r"""
path:
  description: Path of the file, links resolved.
  returned: success
  type: str
  sample: /etc/netplan/40-cx7.yaml
existed:
  description: Whether there was a file when the original was kept, null if none is kept.
  returned: success
  type: bool
  sample: false
original:
  description: Where the original's content is kept, null if there is none, or no longer.
  returned: success
  type: str
  sample: /var/lib/dgx-spark/originals/%2Fetc%2Fnetplan%2F40-cx7.yaml
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    ABSENT,
    OriginalError,
    Originals,
    digest_of,
    read_file,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["kept", "written", "restored"], "default": "kept"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    path, state = str(Path(module.params["path"]).resolve()), module.params["state"]
    originals = Originals()
    diff = {}
    try:
        record, content = originals.record(path), read_file(Path(path))
        if state == "kept":
            changed = record is None
            if changed and not module.check_mode:
                record = originals.keep(path)
        elif state == "written":
            changed = record is not None and record.written != digest_of(content)
            if record and changed and not module.check_mode:
                originals.note_written(path, record.written or record.digest)
        else:
            objection = None if module.params["force"] else originals.objection(path)
            if objection:
                raise OriginalError(objection)
            changed = not originals.is_restored(path)
            after = originals.original_content(path) if record else content
            shown = [(one or b"").decode(errors="replace") for one in (content, after)]
            diff = {"before_header": path, "after_header": path, "before": shown[0], "after": shown[1]}
            if not module.check_mode:
                originals.restore(path)
    except OriginalError as exc:
        module.fail_json(msg=str(exc))
    existed = None if record is None else record.digest != ABSENT
    kept = originals.content_path(path)
    module.exit_json(
        changed=changed,
        path=path,
        existed=existed,
        original=str(kept) if kept.exists() else None,
        diff=diff,
    )


if __name__ == "__main__":
    main()
