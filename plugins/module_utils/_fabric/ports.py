# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the RDMA ports of the host that a module runs on, by ``ibdev2netdev`` or sysfs.

This module util is private to the collection.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import (
    Ibdev2netdevError,
    Mapping,
    describe_links,
    parse_ibdev2netdev,
    parse_ip_addresses,
    read_sysfs,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def read_links(
    module: AnsibleModule, source: str = "auto", executable: str = "ibdev2netdev", sysfs_root: str = "/sys"
) -> tuple[list[dict[str, Any]], str]:
    """Return the links as ``ibdev2netdev_info`` documents them, and where the mapping came from (tool or sysfs).

    :raises Ibdev2netdevError: where the tool fails or its output cannot be read.
    """
    mappings = None if source == "sysfs" else _run_tool(module, source, executable, sysfs_root)
    used = "sysfs" if mappings is None else "tool"
    if mappings is None:
        mappings = read_sysfs(sysfs_root)
    # Addresses are not in sysfs, and those of this machine belong to no other sysfs than its own.
    ipv4 = _read_addresses(module) if mappings and Path(sysfs_root) == Path("/sys") else {}
    return describe_links(mappings, sysfs_root, ipv4), used


def _run_tool(module: AnsibleModule, source: str, executable: str, sysfs_root: str) -> list[Mapping] | None:
    """Return the mappings that the tool prints, None where sysfs is to be read instead."""
    tool = module.get_bin_path(executable)
    if tool is None:
        if source == "tool":
            raise Ibdev2netdevError(
                f"{executable} is not there: install it (mlnx-tools, DOCA-OFED) or set 'source: sysfs'"
            )
        return None
    rc, out, err = module.run_command([tool], environ_update={"LANGUAGE": "C", "LC_ALL": "C"})
    if rc == 0 and out.strip():
        return parse_ibdev2netdev(out)
    if source == "auto" and rc in (0, 255):
        return None
    if rc == 0 or (rc == 255 and not Path(sysfs_root, "class", "infiniband").is_dir()):
        return []
    raise Ibdev2netdevError(
        f"{tool} failed with exit status {rc}: {err.strip() or out.strip() or '(no message)'}; "
        "mend it, or set 'source: sysfs'"
    )


def _read_addresses(module: AnsibleModule) -> dict[str, list[str]]:
    """Return the IPv4 addresses of each netdev."""
    _rc, out, _err = module.run_command([module.get_bin_path("ip", required=True), "-j", "-4", "addr"], check_rc=True)
    return parse_ip_addresses(out)
