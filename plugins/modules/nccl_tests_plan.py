#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nccl_tests_plan
short_description: Plan a measurement of NCCL between Sparks
version_added: 0.1.0
description:
  - >-
    Plans the image with the programs of nccl-tests, and by member a container that is a serving's in all that matters
    to NCCL. These are the environment, the network, the limits, the devices, the sshd of a worker and the mpirun of the
    leader.
  - RDMA is not required of the ranks, so that a fallback to TCP is measured and named, and ends no rank.
  - Asks no host. Refuses sizes that the memory does not hold, and a measurement beside a serving without consent.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  members:
    description: The members, leader first; two at least.
    type: list
    elements: str
    required: true
  fabric:
    description: By member its part of the fabric, as in RV(sparkops.dgx_spark.fabric_plan#module:hosts).
    type: dict
    required: true
  found:
    description: By member what M(sparkops.dgx_spark.nccl_tests_info) returns.
    type: dict
    required: true
  base_image:
    description: The image that the programs come on, with CUDA, NCCL and MPI.
    type: str
    required: true
  context:
    description: The directories with the files of the image. One that comes later replaces files of the same path.
    type: list
    elements: path
    required: true
  repository:
    description: Where git fetches nccl-tests from, where the image has no programs of its own.
    type: str
    required: true
  commit:
    description: The commit of nccl-tests, 40 hexadecimal digits.
    type: str
    required: true
  operations:
    description: What is measured, of V(all_reduce), V(all_gather), V(reduce_scatter), V(alltoall) and V(sendrecv).
    type: list
    elements: str
    required: true
  min_bytes:
    description: The smallest size.
    type: int
    default: 8
  max_bytes:
    description: The largest size.
    type: int
    default: 4294967296
  factor:
    description: By how much sizes grow.
    type: int
    default: 2
  iterations:
    description: How often each operation is timed at each size.
    type: int
    default: 20
  warmup:
    description: How often it runs untimed before.
    type: int
    default: 5
  limit_s:
    description: Seconds after which an operation that has not come to its end hangs.
    type: int
    default: 600
  environment:
    description: Variables of NCCL, UCX, CUDA and MPI for all ranks.
    type: dict
    default: {}
  ssh_port:
    description: Where the workers' own sshd listens, on the control address.
    type: int
    default: 2234
  memlock:
    description: Bytes that a rank must be allowed to lock, V(-1) for any number.
    type: int
    default: -1
  beside_serving:
    description: Whether to measure beside what serves.
    type: bool
    default: false
  base_id:
    description: The ID of the base image, where it was pulled since O(found) was read.
    type: str
    default: ""
  public_keys:
    description: By member the public key that was created for the measurement.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the measurement
  sparkops.dgx_spark.nccl_tests_plan:
    members: [spark1, spark2]
    fabric: "{{ cx7_network_plan.hosts }}"
    found:
      spark1: "{{ hostvars.spark1.found }}"
      spark2: "{{ hostvars.spark2.found }}"
    base_image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    context: [files/image]
    repository: https://github.com/NVIDIA/nccl-tests.git
    commit: a0b82b2260cf5152b9f8c061bbf7eaf0ba096432
    operations: [all_reduce, all_gather, sendrecv]
  register: nccl
"""

RETURN = r"""
changes:
  description: By host what is to be done, each with C(name) and C(diff).
  returned: success
  type: dict
  sample:
    spark1: [{name: Build the image of nccl-tests}]
    spark2: [{name: Load the image from the leader}]
image:
  description: >-
    C(name), C(id), empty before it is built, C(context), and the C(files) and, in C(build), the options of
    C(docker build) by which it is built.
  returned: success
  type: dict
base_image:
  description: O(base_image).
  returned: success
  type: str
operations:
  description: O(operations).
  returned: success
  type: list
  elements: str
nodes:
  description: The names of the members to MPI.
  returned: success
  type: list
  elements: str
  sample: [spark1, spark2]
links:
  description: By such a name the planned links, each with C(netdev), C(rdma_device), C(mtu) and C(carrier).
  returned: success
  type: dict
limit_s:
  description: Seconds after which all containers of the measurement have ended, whatever becomes of the play.
  returned: success
  type: int
  sample: 2040
virtual:
  description: Whether one of the members is a container or a virtual machine, and so no DGX Spark.
  returned: success
  type: bool
  sample: false
hostfile_nodes:
  description: The nodes of the hostfile, for M(sparkops.dgx_spark.mpi_hostfile).
  returned: success
  type: list
  elements: dict
hosts:
  description: By member C(directories), C(key), C(files), and C(run), the arguments of C(docker run).
  returned: success
  type: dict
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
