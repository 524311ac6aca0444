# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules that read the counters of RDMA devices."""

from __future__ import annotations


class ModuleDocFragment:
    """Which devices, and where their counters are."""

    DOCUMENTATION = r"""
options:
  devices:
    description: The names of the RDMA devices.
    type: list
    elements: str
    required: true
  sysfs_root:
    description: The directory in which the kernel lists the devices.
    type: path
    default: /sys/class/infiniband
"""
