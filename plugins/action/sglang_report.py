# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report what SGLang serves, on the controller; the module of this name documents it."""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.report import EngineReport


class ActionModule(EngineReport):
    """Runs on the controller."""
