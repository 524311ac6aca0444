#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_search_info
short_description: Look for Sparks on the local network
version_added: 0.1.0
description:
  - Asks by mDNS which machines let people in by ssh, as DGX OS announces; by C(avahi-browse) where that is installed,
    else by the Python library C(zeroconf) where that is.
  - Reads the neighbours that this machine knows (C(ip neigh)), and the devices that were added to NVIDIA Sync on it.
    It opens no connection to any of them.
  - Says of each what it is called and whether it is a Spark by all likelihood. Whether it is one, only a login shows.
  - Runs on the controller.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  seconds:
    description: How long answers by mDNS are waited for.
    type: float
    default: 5.0
  sync_configs:
    description: Where NVIDIA Sync keeps its configuration of ssh. Files that are not there count for nothing.
    type: list
    elements: str
    default:
      - ~/.config/NVIDIA/Sync/config/ssh_config
      - ~/Library/Application Support/NVIDIA/Sync/config/ssh_config
  release_file:
    description: A file that is there if this machine is a Spark itself.
    type: str
    default: /etc/dgx-release
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Look for Sparks
  sparkops.dgx_spark.setup_search_info:
    seconds: 3
  delegate_to: localhost
  register: found
"""

RETURN = r"""
candidates:
  description: The machines that may be Sparks, the likeliest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The first label of its host name; empty where nothing tells.
      type: str
      sample: spark-1b3b
    address:
      description: The address to manage it by.
      type: str
      sample: 192.168.1.21
    further:
      description: Other addresses and names of the same machine.
      type: list
      elements: str
    port:
      description: The port of its ssh server.
      type: int
      sample: 22
    user:
      description: The account by which NVIDIA Sync logs in.
      type: str
    identity:
      description: The private key by which NVIDIA Sync logs in, a path on this machine.
      type: str
    maker:
      description: Who made its network device.
      type: str
      sample: NVIDIA Corporation
    sources:
      description: What tells of it.
      type: list
      elements: str
      sample: [mDNS, neighbour]
    likely:
      description: Whether it is a Spark by its name, by the maker of its network device, or since NVIDIA Sync has it.
      type: bool
    here:
      description: Whether it is this machine.
      type: bool
others:
  description: How many neighbours were left out, since nothing says that they are Sparks.
  returned: success
  type: int
  sample: 4
notes:
  description: What could not be asked, and what would help.
  returned: success
  type: list
  elements: str
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
