# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that work on a Hugging Face cache have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The model, ``.optional`` where it may be left out; the others are further options."""

    # ansible-test reads literals alone, so the model stands here more than once.
    DOCUMENTATION = r"""
options:
  model:
    description: The model, as RV(sparkops.dgx_spark.hf_model_info#module:model) describes it.
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

    OPTIONAL = r"""
options:
  model:
    description: The model, as RV(sparkops.dgx_spark.hf_model_info#module:model) describes it.
    type: dict
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

    BESIDE = r"""
options:
  beside:
    description: Further models, as RV(sparkops.dgx_spark.hf_model_info#module:beside) describes them.
    type: list
    elements: dict
    default: []
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

    KNOWN = r"""
options:
  verified:
    description: >-
      What M(sparkops.dgx_spark.hf_cache_info) found right, RV(sparkops.dgx_spark.hf_cache_info#module:verified). Such a
      file is not read again unless it was changed since.
    type: dict
    default: {}
  reread:
    description: >-
      Paths of files that M(sparkops.dgx_spark.hf_cache_info) found wrong when it read all. They are read again,
      whatever was noted of them.
    type: list
    elements: str
    default: []
"""

    HINTS = r"""
options:
  hints:
    description:
      - What the caller calls this module's options, by name. A message that asks for an option ends in the caller's
        name for that option.
    type: dict
    default: {}
"""
