# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names in /etc/hosts: added, kept apart from the fabric, and taken back byte for byte."""

from __future__ import annotations

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import hosts_file
from hypothesis import given
from hypothesis import strategies as st

STOCK = "127.0.0.1\tlocalhost\n127.0.1.1\tspark-1b3b\n\n::1 ip6-localhost ip6-loopback\n"
LINES = st.lists(
    st.sampled_from(
        ["127.0.0.1 localhost", "127.0.1.1 old", "127.0.1.1 old.lan old alias # own", "# note", "", "192.0.2.9 nas"]
    ),
    max_size=6,
)


def test_the_own_line_has_the_new_name_and_the_block_the_others() -> None:
    text = hosts_file.planned(STOCK, "spark-1b3b", "spark1", {"spark2": "192.168.1.22"})
    assert text == STOCK.replace("spark-1b3b", "spark1") + (
        f"{hosts_file.BEGIN}\n192.168.1.22 spark2\n{hosts_file.END}\n"
    )


def test_a_name_that_only_begins_alike_stays() -> None:
    text = "127.0.1.1 spark-1b3b spark-1b3bx\n"
    assert hosts_file.renamed(text, "spark-1b3b", "a") == "127.0.1.1 a spark-1b3bx\n"


@pytest.mark.parametrize("address", ["192.168.100.1", "192.168.1.99"])
def test_another_address_of_a_name_is_refused(address: str) -> None:
    with pytest.raises(hosts_file.HostsError, match=f"line 5 .* gives spark2 the address {address}"):
        hosts_file.planned(f"{STOCK}{address} spark2\n", "a", "", {"spark2": "192.168.1.22"})


def test_a_commented_line_and_the_same_address_are_no_matter() -> None:
    text = f"{STOCK}# 192.168.100.1 spark2\n192.168.1.22 spark2\n"
    assert hosts_file.planned(text, "a", "", {"spark2": "192.168.1.22"}).startswith(text)


@given(LINES, st.booleans(), st.dictionaries(st.sampled_from(["spark2", "spark3"]), st.just("192.168.1.2"), max_size=2))
def test_planning_again_changes_nothing_and_what_was_there_stays(
    lines: list[str], ended: bool, names: dict[str, str]
) -> None:
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    once = hosts_file.planned(text, "old", "new", names)
    assert hosts_file.planned(once, "new", "new", names) == once
    assert hosts_file.planned(once, "new", "", names) == once
    kept = [line for line in lines if line and not line.startswith("127.0.1.1")]
    assert [line for line in once.splitlines() if line in kept] == kept
    back = hosts_file.undone(once, "old", "new")
    added = "127.0.1.1 old"  # where there was no line of the host's own
    assert [one for one in back.splitlines() if one != added] == [one for one in text.splitlines() if one != added]


@given(st.text(alphabet="127.0 spark#\n\t:", max_size=60))
def test_any_text_is_taken(text: str) -> None:
    once = hosts_file.planned(text, "spark", "new", {})
    assert hosts_file.planned(once, "new", "new", {}) == once
