# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules of this collection that speak to a Docker Engine have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The engine's socket."""

    DOCUMENTATION = r"""
options:
  docker_socket:
    description: The socket that the Docker Engine listens on.
    type: path
    default: /var/run/docker.sock
"""
