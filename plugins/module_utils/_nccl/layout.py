# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a measurement of NCCL is on a host, and what its parts are called.

This module util is private to the collection.
"""

from __future__ import annotations

NAME = "dgx-spark-nccl-tests"  #: of the containers
FOLDER = "/run/dgx-spark-nccl-tests"  #: gone with the next boot, whatever happens
CONFIG, STATE = f"{FOLDER}/config", f"{FOLDER}/state"
REPOSITORY = "dgx-spark/nccl-tests"
LABEL = "nccl-tests"  #: the value of the label dgx-spark of its images
#: labels of its images: what it was built from, and of which files
BASE_LABEL, CONTEXT_LABEL = "dgx-spark.nccl-tests.base", "dgx-spark.nccl-tests.context"

#: in CONFIG on the leader, what is measured; in STATE what came of it, and a log for each operation
ASKED, RESULT = "nccl_tests.json", "result.json"
MOST_BYTES = 4 * 10**6  #: of a log that is read
