#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_plan
short_description: Plan the build of TensorRT-LLM's image from source on one Spark
version_added: 0.1.0
description:
  - >-
    Lists the changes of each Spark from what M(sparkops.dgx_spark.image_build_info) found, and says by which commands
    the leader builds, with how many compilers at a time, and what room that takes.
  - >-
    Fails, with the host and the mend, where the commit is not pinned, none of the architectures runs on a GB10, a tool
    cannot be had, a disk or the memory is too small, or another build runs.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: What M(sparkops.dgx_spark.image_build_info) returned, by host, the leader first, who builds.
    type: dict
    required: true
  commit:
    description: The commit that is built, or a tag or branch that the leader has looked up.
    type: str
    required: true
  url:
    description: The repository.
    type: str
    required: true
  archs:
    description: CUDA_ARCHS of the build, as CMake has it.
    type: str
    default: 120-real
  target:
    description: The target of the repository's C(docker/Makefile).
    type: str
    default: release_build
  make:
    description: Further arguments of make, such as V(BASE_TAG=26.08-py3).
    type: list
    elements: str
    default: []
  dir:
    description: Where the build and its clone are.
    type: path
    default: /var/lib/dgx-spark/build
  jobs:
    description: How many compilers run at a time. V(0) for as many as processors and memory let run.
    type: int
    default: 0
  job_mib:
    description: MiB that one compiler is taken to need, on a Spark of 128 GB.
    type: int
    default: 6144
  floor_mib:
    description: MiB that stay available while it builds, on a Spark of 128 GB.
    type: int
    default: 16384
  docker_gb:
    description: GB that the build takes on Docker's disk.
    type: float
    default: 63
  source_gb:
    description: GB that the clone takes.
    type: float
    default: 20
  image_gb:
    description: GB that the image takes on each other Spark.
    type: float
    default: 50
  reserve_gb:
    description: GB that are to stay free on every Spark.
    type: float
    default: 20
  spread:
    description: Whether the other Sparks get the image.
    type: bool
    default: true
  model:
    description: The model that the image is tried with. Empty for none.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the build
  sparkops.dgx_spark.image_build_plan:
    members: {"spark1": "{{ found }}"}
    url: https://github.com/NVIDIA/TensorRT-LLM.git
    commit: v1.4.0rc1
  register: planned
"""

RETURN = r"""
changes:
  description: By host a list of changes, each with C(name) and C(diff).
  returned: success
  type: dict
commit:
  description: The commit that is built.
  returned: success
  type: str
image:
  description: What the image is called.
  returned: success
  type: str
  sample: dgx-spark/tensorrt-llm/release:commit-0123456789ab
id:
  description: The image's ID, empty where it is not built yet.
  returned: success
  type: str
archs:
  description: CUDA_ARCHS of the build.
  returned: success
  type: str
  sample: 120-real
jobs:
  description: How many compilers run at a time, V(0) where none is started.
  returned: success
  type: int
  sample: 16
request:
  description: What M(sparkops.dgx_spark.image_build_unit) is told. Empty where the image is built.
  returned: success
  type: dict
room:
  description: What will lie on which disk, in words.
  returned: success
  type: list
  elements: str
warnings:
  description: What is to be known of these settings, in words. Each is shown as a warning.
  returned: on the leader, where there is anything
  type: list
  elements: str
outcome:
  description: >-
    How an earlier run of this build stands, V(running), V(interrupted), V(failed) or V(done). Empty where there was
    none.
  returned: success
  type: str
receivers:
  description: The members that get the image from the leader.
  returned: success
  type: list
  elements: str
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
