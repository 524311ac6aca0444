#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_settings_info
short_description: Read what the role spark_host plans from
version_added: 0.1.0
description:
  - >-
    Reads the host's name, the files and units that the role C(spark_host) cares for, the packages that it needs, and
    what the ssh server goes by for the user who logged in. Needs root.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  wanted:
    description: >-
      What is asked of this host, which RV(wanted) gives back to the planner. Empty, V(0) or V(false) is not asked for.
    type: dict
    default: {}
    suboptions:
      name:
        description: The host's name.
        type: str
        default: ""
      hosts:
        description: Whether C(/etc/hosts) gives the other Sparks' names their management addresses.
        type: bool
        default: false
      chrony:
        description: Whether chrony keeps the clock.
        type: bool
        default: false
      chrony_servers:
        description: Time servers, beside those that the package comes with.
        type: list
        elements: str
        default: []
      sshd:
        description: Whether logins by ssh are by key alone.
        type: bool
        default: false
      sshd_root:
        description: Whether root may log in by a key.
        type: str
        choices: [key, "no"]
        default: key
      sshd_local:
        description: Whether the play runs on the host itself, without ssh.
        type: bool
        default: false
      fail2ban:
        description: Whether fail2ban bans who fails to log in.
        type: bool
        default: false
      fail2ban_ignore:
        description: Addresses and networks that are never banned.
        type: list
        elements: str
        default: []
      tmux:
        description: Whether tmux is installed.
        type: bool
        default: false
      journal_max_gb:
        description: How many GB the journal may take.
        type: int
        default: 0
      earlyoom:
        description: Whether earlyoom ends the largest program before the memory is gone.
        type: bool
        default: false
      earlyoom_mib:
        description: From how little available memory on, in MiB.
        type: int
        default: 4096
      memory_floor_mib:
        description: Below which available memory, in MiB, the supervisor ends the engine.
        type: int
        default: 8192
      keep_ipc:
        description: Whether a user's shared memory outlives the last session.
        type: bool
        default: false
      gpu_clock_mhz:
        description: The highest clock of the GPU, in MHz.
        type: int
        default: 0
      hold_upgrades:
        description: Whether unattended-upgrades leaves Docker, driver and firmware alone.
        type: bool
        default: false
      allow_restart:
        description: Whether running containers may lose the GPU.
        type: bool
        default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what the host has
  sparkops.dgx_spark.spark_host_settings_info:
    wanted: {tmux: true}
  become: true
  register: settings
"""

RETURN = r"""
wanted:
  description: What was given, with the defaults.
  returned: success
  type: dict
hostname:
  description: The host's name.
  returned: success
  type: str
  sample: spark-1b3b
files:
  description: By path the files that are there, with C(content) and C(mtime).
  returned: success
  type: dict
kept:
  description: The files of which the ledger has an original.
  returned: success
  type: list
  elements: str
  sample: [/etc/hosts]
packages:
  description: By name the versions of the packages that are installed.
  returned: success
  type: dict
  sample: {tmux: 3.4-1}
unavailable:
  description: Packages that are asked for and that no package source has.
  returned: success
  type: list
  elements: str
  sample: []
removes:
  description: Packages that the installation would remove.
  returned: success
  type: list
  elements: str
  sample: [systemd-timesyncd]
recorded:
  description: By role the packages that the roles of this collection have installed.
  returned: success
  type: dict
units:
  description: By unit whether it is C(active), C(barred) by a condition of its own, and when it C(started).
  returned: success
  type: dict
remove_ipc:
  description: Whether logind removes a user's shared memory, null where it does not tell.
  returned: success
  type: bool
  sample: true
sshd:
  description: >-
    What the ssh server goes by, C(effective), for C(user), how many C(keys) that user has, and the C(problem) where it
    does not tell.
  returned: success
  type: dict
tools:
  description: Which of nft and iptables are there.
  returned: success
  type: list
  elements: str
  sample: [iptables]
memory_bytes:
  description: All memory.
  returned: success
  type: int
  sample: 128422241280
gpu_max_mhz:
  description: The highest clock of the GPU, 0 where it does not tell.
  returned: success
  type: int
  sample: 3003
containers:
  description: The containers that run.
  returned: success
  type: list
  elements: str
  sample: []
management:
  description: The address of the default route, null where there is none.
  returned: success
  type: str
  sample: 192.168.1.21
"""

import os
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import login_user
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.layout import asked


def option(kind: str, default: Any, **more: Any) -> dict[str, Any]:
    """Describe an option."""
    return {"type": kind, "default": default, **more}


def flag() -> dict[str, Any]:
    """Describe an option that is off."""
    return option("bool", False)


def texts() -> dict[str, Any]:
    """Describe an option that is a list."""
    return option("list", [], elements="str")


WANTED = {
    "name": option("str", ""),
    "hosts": flag(),
    "chrony": flag(),
    "chrony_servers": texts(),
    "sshd": flag(),
    "sshd_root": option("str", "key", choices=["key", "no"]),
    "sshd_local": flag(),
    "fail2ban": flag(),
    "fail2ban_ignore": texts(),
    "tmux": flag(),
    "journal_max_gb": option("int", 0),
    "earlyoom": flag(),
    "earlyoom_mib": option("int", 4096),
    "memory_floor_mib": option("int", 8192),
    "keep_ipc": flag(),
    "gpu_clock_mhz": option("int", 0),
    "hold_upgrades": flag(),
    "allow_restart": flag(),
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "dict", "default": {}, "options": WANTED, "apply_defaults": True},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C", "LANGUAGE": "C"}

    def run(argv: Sequence[str]) -> tuple[int, str]:
        tool = module.get_bin_path(argv[0], opt_dirs=["/usr/sbin", "/sbin"])
        if not tool:
            return 127, ""
        code, out, err = module.run_command([tool, *argv[1:]])
        return code, out if code == 0 else out + err

    wanted = module.params["wanted"]
    try:
        found = host.look(run, asked(wanted), login_user(), module.params["docker_socket"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{os.uname().nodename} cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, wanted=wanted, **found)


if __name__ == "__main__":
    main()
