#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ledger_packages
short_description: Record which Debian packages a role installs, and remove exactly those
version_added: 0.1.0
description:
  - >-
    V(recorded), run before C(ansible.builtin.apt), has apt simulate the installation and records the packages that are
    not on the host yet, those that come with O(packages) included. Packages that are there already are never recorded.
  - >-
    V(removed) purges the recorded packages that are still installed and forgets the record. A recorded package that a
    package of the owner needs by now stays, and RV(kept) says so.
  - >-
    Packages that the installation removes, as chrony's removes systemd-timesyncd, are recorded too, and V(removed)
    installs these again in the same step.
  - >-
    The records are C(/var/lib/dgx-spark/packages.json) and C(/var/lib/dgx-spark/packages_replaced.json), by role a list
    of packages.
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
  role:
    description: The name of the role that the packages are recorded for.
    type: str
    required: true
  packages:
    description: >-
      What the role is about to install, each a name or C(name=version). Required if O(state=recorded).
    type: list
    elements: str
  cache_valid_time:
    description: >-
      With O(state=recorded), apt's package lists are updated first where they are older than so many seconds, since
      older lists may not have what the installation takes. Nothing is updated in check mode, or where this is
      not given.
    type: int
  install_recommends:
    description: Whether the installation takes recommended packages, too.
    type: bool
    default: false
  state:
    description: V(recorded) records before an installation, V(removed) removes what was recorded.
    type: str
    choices: [recorded, removed]
    default: recorded
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Record which packages are new
  sparkops.dgx_spark.ledger_packages:
    role: cx7_network
    packages: [iperf3]
    cache_valid_time: 86400
  become: true
  changed_when: false

- name: Remove the packages that the role installed
  sparkops.dgx_spark.ledger_packages:
    role: cx7_network
    state: removed
  become: true
"""

RETURN = r"""
packages:
  description: >-
    With O(state=recorded) the packages on record for the role; with O(state=removed) those that were removed, or would
    be in check mode.
  returned: success
  type: list
  elements: str
  sample: [iperf3, libiperf0]
replaced:
  description: >-
    With O(state=recorded) the packages on record that the installation removes; with O(state=removed) those that were
    installed again, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [systemd-timesyncd]
kept:
  description: Recorded packages that stay, with the packages that need them.
  returned: success
  type: dict
  sample: {libiperf0: [some-tool]}
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import (
    ROOT,
    is_text_list,
    read_note,
    remove_note,
    write_note,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    FORMAT,
    LISTS,
    LOCK_TIMEOUT_S,
    UPDATED,
    has_lists,
    installed,
    new_packages,
    removed_packages,
)

RECORD = str(Path(ROOT, "packages.json"))
REPLACED = str(Path(ROOT, "packages_replaced.json"))


def apt(module: AnsibleModule, *argv: str) -> str:
    """Run apt-get, wait for another that runs, and return what it prints."""
    tool = module.get_bin_path("apt-get", required=True)
    return module.run_command([tool, "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT_S}", *argv], check_rc=True)[1]


def update_lists(module: AnsibleModule, valid_s: int) -> None:
    """Update older package lists of apt. apt-get waits for dpkg's lock alone, so this waits for theirs."""
    updated = max((path.stat().st_mtime for path in map(Path, (LISTS, UPDATED)) if path.exists()), default=0)
    if has_lists(LISTS) and time.time() - updated < valid_s:
        return
    tool = module.get_bin_path("apt-get", required=True)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    # Without the option it takes a list that it could not get for no error, and goes on with the old one.
    while (done := module.run_command([tool, "-o", "APT::Update::Error-Mode=any", "update"]))[0]:
        if f"{LISTS}/lock" not in done[2] or time.monotonic() > deadline:
            module.fail_json(msg=f"the package lists cannot be updated: {done[2].strip() or done[1].strip()}")
        time.sleep(2)


def there(module: AnsibleModule, packages: list[str]) -> list[str]:
    """Return those of the packages that are installed."""
    if not packages:
        return []
    tool = module.get_bin_path("dpkg-query", required=True)
    return sorted(installed(module.run_command([tool, "-W", "-f", FORMAT, *packages])[1]))


def store(record: dict[str, list[str]], path: str = "") -> None:
    """Write a record; one without a package is no file."""
    if any(record.values()):
        write_note(path or RECORD, {role: packages for role, packages in record.items() if packages})
    else:
        remove_note(path or RECORD)


def recorded(module: AnsibleModule, record: dict[str, list[str]], replaced: dict[str, list[str]]) -> dict[str, Any]:
    """Record what an installation would add to the host, and what it would remove."""
    role = module.params["role"]
    recommends = "--install-recommends" if module.params["install_recommends"] else "--no-install-recommends"
    names = module.params["packages"]
    if module.params["cache_valid_time"] is not None and not module.check_mode:
        update_lists(module, module.params["cache_valid_time"])
    simulation = apt(module, "--simulate", recommends, "--allow-downgrades", "install", *names) if names else ""
    before, lost = record.get(role, []), replaced.get(role, [])
    after = sorted({*before, *new_packages(simulation)})
    losing = sorted({*lost, *removed_packages(simulation)} - set(after))
    if not module.check_mode:
        if after != before:
            store({**record, role: after})
        if losing != lost:
            store({**replaced, role: losing}, REPLACED)
    return {
        "changed": after != before or losing != lost,
        "packages": after,
        "replaced": losing,
        "kept": {},
        "diff": difference(before, after),
    }


def removable(module: AnsibleModule, packages: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return which of the installed packages can go, and which stay because others need them."""
    kept: dict[str, list[str]] = {}
    going = packages
    while going and (foreign := outside(module, going)):
        needed = {package: outside(module, [package], going) for package in going}
        kept.update({package: others for package, others in needed.items() if others})
        if not any(needed.values()):  # together alone they would take others with them
            kept.update(dict.fromkeys(going, foreign))
        going = [package for package in going if package not in kept]
    return going, kept


def outside(module: AnsibleModule, packages: list[str], ours: list[str] | None = None) -> list[str]:
    """Return the packages that are not ours and that would go with these."""
    gone = removed_packages(apt(module, "--simulate", "purge", *packages))
    return sorted(set(gone) - set(ours or packages))


def removed(module: AnsibleModule, record: dict[str, list[str]], replaced: dict[str, list[str]]) -> dict[str, Any]:
    """Purge what was recorded, and install again what that had replaced."""
    role = module.params["role"]
    going, kept = removable(module, there(module, record.get(role, [])))
    lost = replaced.get(role, []) if going else []
    back = sorted(set(lost) - set(there(module, lost)))
    if not module.check_mode and (role in record or role in replaced):
        if going:
            apt(module, "--yes", "--no-install-recommends", "purge", *going, *(f"{package}+" for package in back))
        store({one: packages for one, packages in record.items() if one != role})
        store({one: packages for one, packages in replaced.items() if one != role}, REPLACED)
    for package, others in kept.items():
        module.warn(f"{package}, which the role {role} installed, stays, as {', '.join(others)} needs it")
    shown = difference(going, back)
    return {"changed": bool(going), "packages": going, "replaced": back, "kept": kept, "diff": shown}


def difference(before: list[str], after: list[str]) -> dict[str, str]:
    """Return two lists of packages as a diff."""
    return diff(text_of(before), text_of(after))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str"},
            "cache_valid_time": {"type": "int"},
            "install_recommends": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["recorded", "removed"], "default": "recorded"},
        },
        required_if=[("state", "recorded", ["packages"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        record = read_note(RECORD, {}, is_text_list)
        replaced = read_note(REPLACED, {}, is_text_list)
        done = (recorded if module.params["state"] == "recorded" else removed)(module, record, replaced)
    except FileError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
