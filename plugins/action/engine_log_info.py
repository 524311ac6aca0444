# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the logs of a Spark's servings, without printing them; the module of this name does the work."""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.quiet import QuietModule


class ActionModule(QuietModule):
    """Runs the module on the host."""
