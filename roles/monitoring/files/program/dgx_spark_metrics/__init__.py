# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell Prometheus what no exporter tells of a Spark: the supervisor, the GPU, RDMA, the gateway. It changes nothing.

Standard library alone, Python 3.8 or newer: it runs on a Spark, all the time, as a unit of systemd. The node exporter
reads what it writes.
"""
