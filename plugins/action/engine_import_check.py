# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that TensorRT-LLM can be imported in its image; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import quickstart
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import (
    TrialAction,
    TrialFailedError,
    last_words,
)

MARK = "dgx-spark: "
PROGRAM = f"import tensorrt_llm; print('{MARK}' + tensorrt_llm.__version__)"


class ActionModule(TrialAction):
    """Runs on the controller."""

    WHAT = "import"
    SPEC: ClassVar[dict[str, Any]] = {
        "image": {"type": "str", "required": True},
        "version": {"type": "str", "default": ""},
        "seconds": {"type": "int", "default": 600},
    }

    def validate(self, asked: dict[str, Any], host: str) -> dict[str, Any]:
        """Return the version."""
        seen = self.tried(asked, command=["python3", "-c", PROGRAM])
        version = quickstart.version_in(seen["lines"], MARK)
        if seen["status"] or not version:
            raise TrialFailedError(
                f"{host}: TensorRT-LLM cannot be imported in {asked['image']} (exit status {seen['status']}). "
                f"{last_words(seen['lines'])} Check the NVIDIA runtime first (docker_gpu_check), then the image."
            )
        self.found["version"] = version
        if not quickstart.same_version(asked["version"], version):
            raise TrialFailedError(
                f"{host}: {asked['image']} has TensorRT-LLM {version}, and the plan takes it for {asked['version']}, "
                f"by which flags and keys are checked: set trtllm_serve_version={version}."
            )
        return {}
