#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_absent
short_description: Remove the monitoring from a Spark
version_added: 0.1.0
description:
  - >-
    Stops Prometheus, Alertmanager, the node exporter and the collection's own program, and removes their units, files
    and data, also Grafana's and DCGM's containers with the images that the role has pulled, unless other containers use
    these, and the limit of the journal. Packages, and the services and files that come with these, stay as they are.
  - Directories of the collection that are empty then are removed. systemd is not told to read its units again.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Remove the monitoring
  sparkops.dgx_spark.monitoring_absent:
  become: true
"""

RETURN = r"""
removed:
  description: What was removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/dgx-spark/monitoring]
"""

import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import containers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    CONTAINERS,
    ETC,
    JOURNAL,
    JOURNAL_DIRECTORY,
    JOURNAL_UNIT,
    LIB,
    OWN_DIRECTORY,
    PARTS,
    SHARED,
)


def places() -> list[str]:
    """All that is to go, what starts a unit before what it is."""
    parts = [path for part in PARTS for path in (part.unit_link, part.unit_file, part.data) if path]
    return [*parts, *(one.data for one in CONTAINERS if one.data), JOURNAL, ETC, LIB]


def remove(path: Path) -> None:
    """Remove a file, a link, or a directory with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    left = [path for path in places() if os.path.lexists(path)]
    limited, came_with = os.path.lexists(JOURNAL), OWN_DIRECTORY in str(containers.journal()["content"])
    try:
        gone = containers.remove(Docker(), containers.pulled(), module.check_mode)
        if left and not module.check_mode:
            systemctl = module.get_bin_path("systemctl", required=True)
            units = [part.unit for part in reversed(PARTS)]
            here = [part.unit for part in reversed(PARTS) if Path(part.unit_file).exists()]
            if here:
                module.run_command([systemctl, "stop", *here], check_rc=True)
            for path in left:
                remove(Path(path))
            module.run_command([systemctl, "reset-failed", *units])  # which fails for one that has not
            if limited:
                module.run_command([systemctl, "restart", JOURNAL_UNIT], check_rc=True)
            for path in (*SHARED, *([JOURNAL_DIRECTORY] if came_with else [])):
                if Path(path).is_dir() and not any(Path(path).iterdir()):
                    Path(path).rmdir()
    except (OSError, DockerError) as error:
        module.fail_json(msg=f"{os.uname().nodename}: the monitoring cannot be removed: {told(error)}")
    module.exit_json(changed=bool(left or gone), removed=[*gone, *left])


if __name__ == "__main__":
    main()
