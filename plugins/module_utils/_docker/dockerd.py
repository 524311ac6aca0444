# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the Docker daemon about a configuration before it is written.

This module util is private to the collection.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def validate(module: AnsibleModule, text: str, dockerd: str) -> bool:
    """Have the daemon validate a text for daemon.json; return whether there is one that can (``--validate``).

    :param dockerd: name or path of the daemon.
    :raises DaemonJsonError: with the daemon's reason.
    """
    tool = module.get_bin_path(dockerd, opt_dirs=["/usr/sbin"])
    if tool is None:
        return False
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=".json", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        rc, out, err = module.run_command([tool, "--validate", "--config-file", file.name])
        reason = (err.strip() or out.strip()).replace(file.name, "the result")
    if rc == 0:
        return True
    if "unknown flag: --validate" not in reason:
        raise DaemonJsonError(
            f"dockerd refuses the result: {reason}; correct the settings or the file, which is unchanged"
        )
    return False
