#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_plan
short_description: Plan what is written and started on each Spark to serve a model
version_added: 0.1.0
description:
  - >-
    Computes the files, the image, the stack or the containers of a serving, and what has to change on each Spark; and
    refuses what would only fail minutes into a start, such as a model that is too big for a Spark.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: >-
      The names of the Sparks, leader first.
    type: list
    elements: str
    required: true
  instance:
    description: >-
      The instance's name, where several are on the same Sparks. Up to 16 lower-case letters, digits and dashes; empty
      for that without a name.
    type: str
    default: ""
  engine:
    description: >-
      The configuration of the engine, as M(sparkops.dgx_spark.trtllm_plan) returns it.
    type: dict
    required: true
  model:
    description: >-
      C(repo_dir), the path of the model on the leader, C(repo_dirs), its path by name where the paths differ, C(bytes),
      the size of its files, and C(room), what they will take by name, as M(sparkops.dgx_spark.hf_cache_plan) tells.
      C(beside) has further models with the same, and their C(repo): the one that guesses tokens is mounted too.
    type: dict
    required: true
  fabric:
    description: >-
      By name, the C(control_address) of a Spark and its data C(links), each with C(netdev), C(rdma_device)
      and C(address) in CIDR notation; where no link has the control address, as on a ring, its
      C(control_netdev) and C(control_network) too. A Spark that is alone needs none.
    type: dict
    default: {}
  launcher:
    description: >-
      Who starts the containers.
    type: str
    choices: [swarm, docker]
    required: true
  base_image:
    description: >-
      The image that the engine's image is built from.
    type: str
    required: true
  context:
    description: >-
      The directory on the controller with the files that the engine's image is built from.
    type: path
    required: true
  found:
    description: >-
      By name, what M(sparkops.dgx_spark.engine_host_info) returned.
    type: dict
    required: true
  base_bytes:
    description: >-
      Compressed bytes of the base image, as M(sparkops.dgx_spark.image_pull_progress) tells in check mode; 0 where the
      registry did not tell, which O(image_gb) stands for then, and less where it was not asked.
    type: int
    default: -1
  base_content_there:
    description: Whether the leader has the base image under another name, so that nothing of it is to be pulled.
    type: bool
    default: false
  image_gb:
    description: >-
      GB that the base image is taken to have, compressed, where its registry does not tell.
    type: int
    default: 20
  reserve_gb:
    description: >-
      GB that are to stay free on each filesystem, beside all that will lie there at once.
    type: int
    default: 20
  base_id:
    description: >-
      The ID of O(base_image), where it was pulled since O(found).
    type: str
    default: ""
  image_id:
    description: >-
      The ID of the engine's image, where it was built since O(found).
    type: str
    default: ""
  public_keys:
    description: >-
      By name, the public keys that were created since O(found).
    type: dict
    default: {}
  api_host:
    description: >-
      The IPv4 address on the leader that the API listens on.
    type: str
    default: 127.0.0.1
  api_port:
    description: >-
      The port that the API listens on.
    type: int
    default: 8355
  api_sources:
    description: >-
      Addresses and networks that are let in to the API. V(any) for all.
    type: list
    elements: str
    default: [any]
  firewall:
    description: >-
      Whether the firewall is configured, as O(sparkops.dgx_spark.ufw_rules#module:firewall).
    type: str
    choices: [auto, ufw, none]
    default: auto
  ssh_port:
    description: >-
      The port of the workers' sshd.
    type: int
    default: 2233
  gpu_kind:
    description: >-
      The generic resource of a Swarm that stands for a Spark's GPU.
    type: str
    default: gpu
  load_timeout:
    description: >-
      Seconds until the first token, after which a load is ended whatever it does. 0 for an hour, and a second more for
      every 50 MB of a rank's share of the model.
    type: int
    default: 0
  stall_minutes:
    description: >-
      Minutes without any progress (a line of the log, a byte read, memory taken) after which a load is ended.
    type: int
    default: 40
  canary_interval:
    description: >-
      Seconds between two probes for a token.
    type: int
    default: 15
  canary_timeout:
    description: >-
      Seconds that a probe may take.
    type: int
    default: 60
  canary_failures:
    description: >-
      How many probes in a row may fail before the engine is ended.
    type: int
    default: 3
  max_starts:
    description: >-
      How many starts in a row may fail before the supervisor gives up.
    type: int
    default: 5
  memory_reserve_mib:
    description: >-
      MiB that a Spark of 128 GB must have available beside its share of the model; a smaller one, as much less.
    type: int
    default: 24576
  model_force:
    description: Warn of a model that does not fit, or that needs more Sparks, instead of refusing it.
    type: bool
    default: false
  memory_budget_mib:
    description: >-
      MiB of each Spark that the serving may take in all, as they are. 0 for what is free where O(instance) is empty,
      and for an instance with a name its share of the model and O(memory_reserve_mib).
    type: int
    default: 0
  memory_floor_mib:
    description: >-
      MiB below which a rank is ended, of a Spark of 128 GB; a smaller one, as much less. 0 for never.
    type: int
    default: 8192
  memory_load_floor_mib:
    description: >-
      The same while a rank loads.
    type: int
    default: 16384
  memlock:
    description: >-
      The limit of locked memory, in bytes, that a rank is content with. -1 for unlimited.
    type: int
    default: -1
  drop_caches:
    description: >-
      Whether every load begins with dropping the page cache.
    type: bool
    default: false
  require_alike:
    description: >-
      Whether Sparks are refused whose memory, kernel, NVIDIA driver or ConnectX-7 firmware differ.
    type: bool
    default: true
  require_rdma:
    description: >-
      Whether a rank without RDMA is refused.
    type: bool
    default: true
  meminfo_path:
    description: >-
      The file on the hosts that tells a Spark's memory.
    type: str
    default: /proc/meminfo
  drop_caches_path:
    description: >-
      The file on the hosts that the page cache is dropped by.
    type: str
    default: /proc/sys/vm/drop_caches
  alert_url:
    description: >-
      Where the leader's supervisor posts alerts to; empty for none. It is a secret, and in nothing that is returned.
    type: str
    default: ""
  alert_format:
    description: >-
      The shape of an alert.
    type: str
    choices: [generic, slack, discord]
    default: generic
  alert_after:
    description: >-
      Seconds without serving after which it is down.
    type: int
    default: 60
  alert_settle:
    description: >-
      Seconds of serving after which it has recovered.
    type: int
    default: 120
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the serving
  sparkops.dgx_spark.engine_plan:
    members: [spark1]
    engine: "{{ trtllm_serve_plan.engine }}"
    model: {repo_dir: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b, bytes: 13761300000}
    launcher: docker
    base_image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    context: "{{ role_path }}/files/image"
    found: {spark1: "{{ serving }}"}
  register: planned
"""

RETURN = r"""
changes:
  description: By name the changes, each with C(name) and, where a text changes, C(diff), in the order of the apply.
  returned: success
  type: dict
  sample: {"spark1": [{"name": "Write the configuration"}]}
room:
  description: >-
    By name the filesystems that something will lie on that is not there yet, a line each: what, how much at once, and
    how much is free.
  returned: success
  type: dict
  sample:
    spark2: ["/: 65.25 GB for openai/gpt-oss-120b in /home/nvidia/… = 65.25 GB at once, 3400.00 GB are free"]
moves:
  description: >-
    By name what of the image has to come to a Spark, of those to which any does: C(what), C(bytes) and C(way), which is
    V(pull) or V(copy).
  returned: success
  type: dict
  sample:
    spark1: {what: "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5", bytes: 20123456789, way: pull}
fit:
  description: >-
    Whether the model fits. C(answer) is V(fits), V(does_not) or V(cannot_tell), with C(reasons); C(kv_tokens) are the
    tokens that the KV cache is worked out to hold, C(context) those that one sequence can have, and C(largest) says
    what would fit.
  returned: success
  type: dict
  sample: {"answer": "fits", "reasons": [], "notes": [], "kv_tokens": 306764, "context": 40960, "largest": []}
exposed:
  description: By name what answers on which networks while the model is served, and how to close it, where ufw is off.
  returned: success
  type: dict
gateways:
  description: The instances that have an API gateway on the leader, the empty name for the one without a name.
  returned: success
  type: list
  elements: str
  sample: []
instance:
  description: The instance's name, empty for that without a name.
  returned: success
  type: str
  sample: vlm
endpoint:
  description: Where the OpenAI-compatible API will be, on the leader.
  returned: success
  type: str
  sample: http://127.0.0.1:8355/v1
cluster:
  description: The configuration that is equal on all nodes.
  returned: success
  type: dict
config_digest:
  description: What the containers say that they were started with.
  returned: success
  type: str
  sample: 0123456789ab-60a6274621e7
image:
  description: C(id) of the engine's image, empty before it is built, and its C(name).
  returned: success
  type: dict
hosts:
  description: By name, what the host's tasks need, such as C(rank), C(address), C(rdma_devices) and C(files).
  returned: success
  type: dict
layout:
  description: Paths and names on the hosts.
  returned: success
  type: dict
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
