#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ufw_rules
short_description: Write rules of the firewall ufw that are recognised by their comment
version_added: 0.1.0
description:
  - >-
    Adds and deletes rules of ufw until those that carry O(comment) are the wanted ones. All other rules stay as they
    are, to the byte and in their order.
  - >-
    ufw keeps one rule for the same packets. Where that is another owner's rule, it counts if it does the same, and
    stays, whether it logs or not. The module refuses, with nothing changed, where that rule does another thing, or
    O(first=true).
  - >-
    ufw takes the first rule that fits. The module refuses, with nothing changed, to allow what another owner's rule in
    front denies, unless O(first=true).
  - Never enables ufw.
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
  comment:
    description: The comment by which the rules are recognised.
    type: str
    required: true
  rules:
    description: The rules. Lists in one of them make one for each pair of addresses, and each port.
    type: list
    elements: dict
    required: true
    suboptions:
      rule:
        description: What to do with the packets.
        type: str
        choices: [allow, deny]
        default: allow
      interface_in:
        description: The netdev that they come in by, any by default.
        type: str
      from_ip:
        description: The addresses or networks that they come from. An empty list makes no rule.
        type: list
        elements: str
        default: [any]
      to_ip:
        description: The addresses or networks that they go to. An empty list makes no rule.
        type: list
        elements: str
        default: [any]
      to_port:
        description: The ports that they go to, any by default.
        type: list
        elements: int
      proto:
        description: Their protocol, any by default.
        type: str
        choices: [tcp, udp]
  state:
    description: With V(exact) no other rules carry O(comment); V(absent) deletes those of O(rules) that do.
    type: str
    choices: [exact, absent]
    default: exact
  first:
    description: Whether the rules come before all other rules, in their order. Else new ones come last.
    type: bool
    default: false
  firewall:
    description: >-
      V(auto) does nothing unless ufw is enabled, V(none) does nothing at all. V(ufw) writes the rules in any case, and
      fails where there are some to write and no ufw.
    type: str
    choices: [auto, ufw, none]
    default: auto
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Open the ports of the swarm to another Spark
  sparkops.dgx_spark.ufw_rules:
    comment: DGX Spark Swarm
    rules:
      - {from_ip: [192.168.1.22], to_port: [2377, 7946], proto: tcp}
      - {from_ip: [192.168.1.22], to_port: [7946, 4789], proto: udp}

- name: Close the addresses of a cable to all but its other end
  sparkops.dgx_spark.ufw_rules:
    comment: DGX Spark fabric
    first: true
    rules:
      - {interface_in: enp1s0f0np0, from_ip: [192.168.100.0/24]}
      - {rule: deny, to_ip: [192.168.100.0/24]}

- name: Delete the rules with that comment
  sparkops.dgx_spark.ufw_rules:
    comment: DGX Spark fabric
    rules: []
    firewall: ufw
"""

RETURN = r"""
rules:
  description: The rules that carry the comment after a change, as C(ufw show added) lists them.
  returned: success
  type: list
  elements: str
  sample: [allow from 192.168.1.22 to any port 2377 proto tcp]
added:
  description: Those that were added, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [allow from 192.168.1.22 to any port 2377 proto tcp]
removed:
  description: Those that were deleted, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import (
    is_text_list,
    read_note,
    remove_note,
    write_note,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import (
    CONF,
    NOTE,
    Line,
    Steps,
    UfwError,
    absent,
    difference,
    is_enabled,
    lost_rules,
    parse,
    recall,
    spread,
    steps,
)


def concerned(module: AnsibleModule) -> bool:
    """Whether there is a firewall to write rules of."""
    firewall, adds = module.params["firewall"], module.params["state"] == "exact" and bool(module.params["rules"])
    if firewall == "ufw":
        return bool(module.get_bin_path("ufw", required=adds))
    return firewall == "auto" and is_enabled(Path(CONF))


def look(module: AnsibleModule, tool: str) -> tuple[list[Line], Steps]:
    """Return the rules that are there, and the steps to the wanted ones."""
    asked = module.params
    there = parse(recall(module.run_command([tool, "show", "added"], check_rc=True)[1], NOTE))
    wanted = [text for rule in asked["rules"] for text in spread(rule)]
    if asked["state"] == "absent":
        return there, absent(there, wanted, asked["comment"])
    return there, steps(there, wanted, asked["comment"], first=asked["first"])


def take(module: AnsibleModule, tool: str, there: list[Line], todo: Steps) -> None:
    """Take the steps, and check that none is left."""
    comment, lost = ["comment", module.params["comment"]], lost_rules(there)
    for rule in todo.removed:
        module.run_command([tool, "delete", *rule.split(), *([] if rule in lost else comment)], check_rc=True)
    for rule in todo.marked:  # said again, in its place
        module.run_command([tool, *rule.split(), *comment], check_rc=True)
    front = ["prepend"] if module.params["first"] else []
    for rule in reversed(todo.added) if front else todo.added:
        module.run_command([tool, *front, *rule.split(), *comment], check_rc=True)
    now, left = look(module, tool)
    note_rules(module.params["comment"], [line.rule for line in now if line.comment == module.params["comment"]])
    if any(left):
        raise UfwError(f"ufw did not take all of it: there is still {left.added} to add and {left.removed} to delete")


def note_rules(comment: str, rules: list[str]) -> None:
    """Note which rules were written with the comment, since ufw may lose it."""
    try:
        noted = read_note(NOTE, {}, is_text_list)
        if noted.get(comment, []) == rules:
            return
    except ValueError:
        if Path(NOTE).is_dir():
            raise
        noted = {}
    noted = {
        **{other: theirs for other, theirs in noted.items() if other != comment},
        **({comment: rules} if rules else {}),
    }
    write_note(NOTE, noted) if noted else remove_note(NOTE)


def main() -> None:
    """Run the module."""
    rule = {
        "rule": {"type": "str", "choices": ["allow", "deny"], "default": "allow"},
        "interface_in": {"type": "str"},
        "from_ip": {"type": "list", "elements": "str", "default": ["any"]},
        "to_ip": {"type": "list", "elements": "str", "default": ["any"]},
        "to_port": {"type": "list", "elements": "int"},
        "proto": {"type": "str", "choices": ["tcp", "udp"]},
    }
    module = AnsibleModule(
        argument_spec={
            "comment": {"type": "str", "required": True},
            "rules": {"type": "list", "elements": "dict", "required": True, "options": rule},
            "state": {"type": "str", "choices": ["exact", "absent"], "default": "exact"},
            "first": {"type": "bool", "default": False},
            "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "auto"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}
    comment, first = module.params["comment"], module.params["first"]
    there: list[Line] = []
    todo = Steps([], [])
    try:
        if concerned(module):
            tool = module.get_bin_path("ufw", required=True)
            there, todo = look(module, tool)
            if any(todo) and not module.check_mode:
                take(module, tool, there, todo)
        if module.params["state"] == "exact" and not module.params["rules"] and not module.check_mode:
            note_rules(comment, [])  # rules that somebody else took away leave their note
    except (FileError, UfwError) as exc:
        module.fail_json(msg=str(exc))
    before, rules = difference(there, todo, comment, first=first)
    module.exit_json(
        changed=any(todo),
        rules=rules.splitlines(),
        added=todo.added,
        removed=todo.removed,
        diff=diff(before, rules),
    )


if __name__ == "__main__":
    main()
