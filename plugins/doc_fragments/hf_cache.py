# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that work on a Hugging Face cache have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The model itself; ``.cache``, ``.patterns``, ``.hub``, ``.bring`` and ``.peer`` are further options."""

    DOCUMENTATION = r"""
options:
  model:
    description: The model, as RV(sparkops.dgx_spark.hf_repo_info#module:model) describes it.
    type: dict
    required: true
    suboptions:
      repo:
        description: Its repository, C(organisation/name).
        type: str
        required: true
      commit:
        description: The commit, 40 hexadecimal digits.
        type: str
        required: true
      revision:
        description: The branch or tag that the commit was found by, or the commit.
        type: str
        required: true
      files:
        description: Its files.
        type: list
        elements: dict
        required: true
        suboptions:
          path:
            description: Path within the repository.
            type: str
            required: true
          size:
            description: Bytes.
            type: int
            required: true
          sha256:
            description: SHA-256 of a file that the hub keeps outside of git.
            type: str
          git_sha1:
            description: What git calls a file that the hub keeps in git.
            type: str
"""

    PATTERNS = r"""
options:
  allow_patterns:
    description: Only files that match one of these, as C(hf download --include) takes them. Empty for all.
    type: list
    elements: str
    default: []
  ignore_patterns:
    description: No files that match one of these.
    type: list
    elements: str
    default: []
"""

    CACHE = r"""
options:
  cache_dir:
    description:
      - The cache, as C(HF_HOME) names it; models are in its directory C(hub).
      - The module must run as the cache's owner.
    type: path
    default: ~/.cache/huggingface
"""

    HUB = r"""
options:
  endpoint:
    description: The hub's address.
    type: str
    default: https://huggingface.co
  token:
    description:
      - A token of an account that may read the model. Empty for none.
      - It is on no command line. A token that the user saved by C(hf auth login) is not used.
    type: str
    default: ""
"""

    BRING = r"""
options:
  attempts:
    description: How often it is started before it is given up, with growing pauses.
    type: int
    default: 5
  stall_seconds:
    description: After how many seconds in which nothing came it is started again.
    type: int
    default: 120
"""

    PEER = r"""
options:
  address:
    description: Where the other Spark is reached, best an address on the fabric.
    type: str
    required: true
  port:
    description: Its ssh port.
    type: int
    default: 22
  user:
    description: The user that M(sparkops.dgx_spark.hf_copy_door) ran as there.
    type: str
    required: true
  host_keys:
    description: The ssh host keys of the other Spark. No other is spoken to.
    type: list
    elements: str
    required: true
  streams:
    description: How many connections carry files side by side.
    type: int
    default: 4
  encrypted:
    description:
      - Whether the files' bytes are encrypted on their way. What is asked for, and by whom, always is.
      - >-
        V(false) has them come over TCP connections of their own, from the other Spark to this one, on any port. Whoever
        can listen on that network can read them. They cannot be changed on the way: a file whose hash is wrong is not
        kept.
    type: bool
    default: true
"""
