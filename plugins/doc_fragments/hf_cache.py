# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that work on a Hugging Face cache take: which model, and which cache."""

from __future__ import annotations


class ModuleDocFragment:
    """A model as RV(sparkops.dgx_spark.hf_repo_info#module:model) describes it, in a cache."""

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
  cache_dir:
    description:
      - The cache, as C(HF_HOME) names it; models are in its directory C(hub).
      - The module must run as the cache's owner.
    type: path
    default: ~/.cache/huggingface
"""
