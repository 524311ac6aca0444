# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program inside every serving container: leader, worker, rank wrapper and health check.

Each concern has its own module; what is particular to an engine is a class in ``engines``. What other programs read of
it, such as phases, exit statuses and the JSON files, is in ``contract``. Only the standard library, since it runs with
whatever Python the image has (3.10 and later).
"""
