#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_netplan
short_description: Write the fabric's netplan file, once netplan has accepted it
version_added: "0.1.0"
description:
  - Writes a file that gives planned addresses and MTU to the fabric's network devices, and keeps the others quiet.
  - >-
    Before it replaces anything, also in check mode, netplan's generator must accept the new file together with all
    other netplan files of the host, in a copy of them.
  - It names no renderer, so the host keeps its own. It does not apply the file.
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
    description: The file, below C(/etc/netplan). It belongs to root with mode 0600, and is owned as a whole.
    type: path
    default: /etc/netplan/40-cx7.yaml
  netdevs:
    description: >-
      What each network device of the fabric shall be, the host's part of the plan
      (RV(sparkops.dgx_spark.fabric_plan_info#module:plan.hosts.netdevs)). All are named, cabled or not: those without
      a cable get no address and no DHCP.
    type: dict
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Give the fabric its addresses
  sparkops.dgx_spark.fabric_netplan:
    netdevs:
      enp1s0f0np0: {addresses: [192.168.100.10/24], mtu: 9000}
      enP2p1s0f0np0: {addresses: [192.168.101.10/24], mtu: 9000}
      enp1s0f1np1: {}
      enP2p1s0f1np1: {}
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/netplan/40-cx7.yaml
content:
  description: What it holds.
  returned: success
  type: str
"""

import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import (
    GENERATORS,
    PLACES,
    NetplanError,
    render,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write


def ask_netplan(module: AnsibleModule, path: Path, content: str) -> None:
    """Let netplan judge the file among copies of all others, or fail."""
    netplan = module.get_bin_path("netplan")
    if netplan is None:
        module.fail_json(msg="netplan is not there: install netplan.io, which DGX OS has from the start")
    generator = next(([path] for path in GENERATORS if Path(path).exists()), [netplan, "generate"])
    with tempfile.TemporaryDirectory(prefix="fabric-netplan-") as root:
        for place in map(Path, PLACES):
            copy = Path(root, *place.parts[1:])
            copy.mkdir(parents=True)
            for source in place.glob("*.yaml"):
                shutil.copy2(source, copy / source.name)
        candidate = Path(root, *path.parts[1:])
        candidate.parent.mkdir(parents=True, exist_ok=True)
        candidate.write_text(content, encoding="utf-8")
        candidate.chmod(0o600)
        rc, out, err = module.run_command([*generator, "--root-dir", root])
        if rc:
            # Its warnings, of a file's mode for example, would hide what it fails of.
            lines = [line for line in (err or out).replace(root, "").splitlines() if line and "WARNING" not in line]
            said = "\n".join(lines) or f"exit status {rc}"
            module.fail_json(
                msg=f"netplan refuses {path} together with the other files here, and nothing was changed: {said}; "
                "mend the file that it names (try 'sudo netplan generate')",
                rc=rc,
                stdout=out,
                stderr=err,
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/netplan/40-cx7.yaml"},
            "netdevs": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    path = Path(module.params["path"])
    try:
        content = render(module.params["netdevs"])
        before = path.read_bytes().decode(errors="replace") if path.exists() else ""
    except (NetplanError, PermissionError) as exc:
        module.fail_json(msg=str(exc))
    changed = before != content
    if changed:
        ask_netplan(module, path, content)
        if not module.check_mode:
            write(module, path, content)
    diff = {"before_header": str(path), "after_header": str(path), "before": before, "after": content}
    if path.exists():
        changed = module.set_fs_attributes_if_different(
            module.load_file_common_arguments({"owner": "root", "group": "root", "mode": "0600"}, path=str(path)),
            changed,
        )
    module.exit_json(changed=changed, path=str(path), content=content, diff=diff)


if __name__ == "__main__":
    main()
