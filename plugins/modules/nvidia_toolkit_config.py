#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_toolkit_config
short_description: Have the NVIDIA runtime select the GPU that Docker Swarm chose
version_added: 0.1.0
description:
  - >-
    Makes C(swarm-resource) in the NVIDIA Container Toolkit's C(config.toml) name a variable. Swarm sets that variable
    for a task that reserved a GPU, and the runtime then gives the container that GPU.
  - The file is edited by C(nvidia-ctk), and only where the variable is not named yet. Other variables stay.
  - Before its first change the original is kept, see M(sparkops.dgx_spark.ledger_file).
  - The runtime reads the file whenever a container starts, so nothing has to be restarted.
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
  swarm_resource:
    description: The variable, C(DOCKER_RESOURCE_) and the kind of the resource in capitals.
    type: str
    required: true
  path:
    description: The configuration file. It may be missing, as C(nvidia-ctk) then starts from its defaults.
    type: path
    default: /etc/nvidia-container-runtime/config.toml
  executable:
    description: Name of C(nvidia-ctk), to be found on C(PATH), or its path.
    type: path
    default: nvidia-ctk
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Give a Swarm task the GPU that it reserved
  sparkops.dgx_spark.nvidia_toolkit_config:
    swarm_resource: DOCKER_RESOURCE_GPU
"""

RETURN = r"""
path:
  description: Path of the file, links resolved.
  returned: success
  type: str
  sample: /etc/nvidia-container-runtime/config.toml
swarm_resource:
  description: The variables, separated by commas.
  returned: success
  type: str
  sample: DOCKER_RESOURCE_GPU
"""

import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import (
    ToolkitConfigError,
    string,
    with_resource,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    OriginalError,
    Originals,
    read_file,
)

KEY = "swarm-resource"


def ask(module: AnsibleModule, tool: str, path: Path, *options: str) -> str:
    """Run ``nvidia-ctk config`` on a file."""
    rc, out, err = module.run_command([tool, "config", "--config-file", str(path), *options])
    if rc != 0:
        raise ToolkitConfigError(f"nvidia-ctk refuses {path}: {err.strip() or out.strip()}; mend the file by hand")
    return out


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "swarm_resource": {"type": "str", "required": True},
            "path": {"type": "path", "default": "/etc/nvidia-container-runtime/config.toml"},
            "executable": {"type": "path", "default": "nvidia-ctk"},
        },
        supports_check_mode=True,
    )
    path, wanted = Path(os.path.realpath(module.params["path"])), module.params["swarm_resource"]
    tool = module.get_bin_path(module.params["executable"])
    if tool is None:
        if module.check_mode:  # the task that installs it has not installed it either
            module.exit_json(changed=True, path=str(path), swarm_resource=wanted)
        module.fail_json(msg="nvidia-ctk is missing: install the package nvidia-container-toolkit")
    try:
        content = read_file(path)
        value = string(ask(module, tool, path), KEY)
        wanted = with_resource(value, wanted)
        changed, after = wanted != value, content
        if changed:
            # On a copy, so that check mode can show the outcome and the file is replaced in one step.
            with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
                copy = Path(scratch, path.name)
                if content is not None:
                    copy.write_bytes(content)
                ask(module, tool, copy, "--in-place", "--set", f"{KEY}={wanted}")
                after = read_file(copy)
                if after is None or string(ask(module, tool, copy), KEY) != wanted:
                    raise ToolkitConfigError(
                        f"this nvidia-ctk cannot set {KEY} to {wanted!r}: set it in {path} by hand"
                    )
        if changed and not module.check_mode:
            Originals().change(str(path), after or b"")
    except (OriginalError, ToolkitConfigError) as exc:
        module.fail_json(msg=str(exc))
    before, later = ((one or b"").decode(errors="replace") for one in (content, after))
    module.exit_json(
        changed=changed,
        path=str(path),
        swarm_resource=wanted,
        diff=diff(before, later, str(path)),
    )


if __name__ == "__main__":
    main()
