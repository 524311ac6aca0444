# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sends to whom when, what the tools say, and what too small a figure means."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import (
    BandwidthError,
    bandwidth_problem,
    command,
    links_of,
    parse,
    stages,
)


def plan(topology: str, count: int) -> dict:
    """A plan in which every host reaches every other over two halves."""
    names = [f"spark{rank}" for rank in range(count)]
    return {
        "topology": topology,
        "hosts": {
            name: {
                "links": [
                    {
                        "netdev": f"{half}-{name}",
                        "peer_netdev": f"{half}-{peer}",
                        "peer": peer,
                        "address": f"10.0.{half}.{rank}/24",
                        "peer_address": f"10.0.{half}.{names.index(peer)}",
                        "rdma_device": f"roce{half}",
                        "port": 1,
                    }
                    for peer in names
                    if peer != name
                    for half in (0, 1)
                ]
            }
            for rank, name in enumerate(names)
        },
    }


def test_two_send_one_after_the_other() -> None:
    assert stages(plan("direct", 2)) == [[("spark0", "spark1")], [("spark1", "spark0")]]


def test_a_ring_sends_all_around_at_once() -> None:
    ahead, back = stages(plan("ring", 3))
    assert ahead == [("spark0", "spark1"), ("spark0", "spark2"), ("spark1", "spark2")]
    assert back == [(other, one) for one, other in ahead]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
def test_on_a_switch_each_is_measured_both_ways_and_with_one_other_at_a_time(count: int) -> None:
    jobs = stages(plan("switch", count))
    for stage in jobs:
        busy = [name for job in stage for name in job]
        assert len(set(busy)) == len(busy)
    assert {sender for stage in jobs for sender, _receiver in stage} == {f"spark{rank}" for rank in range(count)}


@pytest.mark.parametrize(("topology", "count"), [("direct", 2), ("ring", 3), ("switch", 5)])
def test_both_ends_agree_and_no_two_servers_share_a_port(topology: str, count: int) -> None:
    one = plan(topology, count)
    for stage in stages(one):
        ports = []
        for sender, receiver in stage:
            for here, there, port in links_of(one, sender, receiver):
                assert (here["peer_netdev"], there["peer_netdev"]) == (there["netdev"], here["netdev"])
                ports.append((there["netdev"], port))
        assert len(set(ports)) == len(ports)


def test_commands() -> None:
    (here, there, port), *_more = links_of(plan("direct", 2), "spark0", "spark1")
    assert " ".join(command("iperf3", 5, here, port, True)) == f"iperf3 -c 10.0.0.1 -P 8 -t 5 -J -B 10.0.0.0 -p {port}"
    assert " ".join(command("iperf3", 5, there, port, False)) == f"iperf3 -s -1 -B 10.0.0.1 -p {port}"
    served = command("ib_write_bw", 5, there, port, False)
    assert " ".join(served) == f"ib_write_bw -d roce0 -i 1 -p {port} -F --report_gbits -D 5"
    assert command("ib_write_bw", 5, here, port, True) == [*served, "10.0.0.1"]


PERFTEST = """---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 65536      884736           0.00               92.57                0.176567
---------------------------------------------------------------------------------------
"""


def test_figures_are_read() -> None:
    assert parse("ib_write_bw", PERFTEST) == 92.57
    assert parse("iperf3", '{"end": {"sum_received": {"bits_per_second": 93456000000.0}}}') == 93.46


@pytest.mark.parametrize(
    ("tool", "output", "words"),
    [
        ("iperf3", '{"error": "unable to connect to server"}', "unable to connect"),
        ("iperf3", "", "printed no result"),
        ("iperf3", '{"end": {}}', "printed no result"),
        ("ib_write_bw", PERFTEST.split(" 65536")[0], "printed no result"),
    ],
)
def test_a_tool_that_did_not_measure(tool: str, output: str, words: str) -> None:
    with pytest.raises(BandwidthError, match=words):
        parse(tool, output)


def found(*links: float, **errors: str) -> dict:
    return {
        "peer": "spark2",
        "gbps": sum(links),
        "links": {f"half{index}": gbps for index, gbps in enumerate(links)},
        "errors": errors,
    }


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (found(92.57, 97.28), None),
        (found(6.6, 6.6), "bad state gives on a sound link. Reboot both Sparks with the QSFP cable in"),
        (found(13.2, 0.1), "bad state"),
        (found(109.0, 0.4), "half1 carries next to nothing"),
        (found(50.0), "one half of the cable"),
        (found(50.0, 54.0), "all of its links give about half alike"),
        (found(80.0, 80.0), "install perftest"),
        (found(100.0, half1="Connection refused"), "cannot send to spark2 out of half1 (iperf3: Connection refused)"),
    ],
)
def test_verdicts(measured: dict, says: str | None) -> None:
    said = bandwidth_problem("spark1", measured, 175, "iperf3")
    assert said is None if says is None else says in said


@pytest.mark.parametrize("tool", ["ib_write_bw", "iperf3"])
@pytest.mark.parametrize(
    ("links", "weak"),
    [
        # tonyd2wild/DeepSeek-v4-Flash-Vision-Exp, PR #35 (2026-08-20): the second half at PCIe x2, by old firmware
        ({"enp1s0f0np0": 98.0, "enP2p1s0f0np0": 63.0}, ["enP2p1s0f0np0"]),
        ({"enp1s0f0np0": 31.0, "enP2p1s0f0np0": 98.0}, ["enp1s0f0np0"]),
        ({"enp1s0f0np0": 63.0, "enP2p1s0f0np0": 31.0}, ["enP2p1s0f0np0"]),
        ({"a": 50.0, "b": 22.0, "c": 48.0, "d": 21.0}, ["b", "d"]),
    ],
)
def test_a_half_that_is_weaker_than_the_rest_is_named(links: dict[str, float], weak: list[str], tool: str) -> None:
    measured = {"peer": "spark2", "gbps": sum(links.values()), "links": links, "errors": {}}
    said = bandwidth_problem("spark1", measured, 175, tool) or ""
    assert f": {' and '.join(weak)} carr{'ies' if len(weak) == 1 else 'y'} clearly less than the rest" in said
    assert [
        word for word in ("LnkSta", "width x4", "fwupdmgr", f"{weak[0]} {links[weak[0]]:g}") if word not in said
    ] == []
    # Uneven TCP may be the processor, so that RDMA comes first, and firmware after it.
    assert (said.find("install perftest") in range(said.find("fwupdmgr"))) is (tool == "iperf3")


@pytest.mark.parametrize("tool", ["ib_write_bw", "iperf3"])
@pytest.mark.parametrize("links", [(50.0, 52.0), (47.0, 47.0), (49.0, 48.0, 1.0, 1.0), (24.0, 25.0, 24.0, 25.0)])
def test_halves_that_are_slow_alike_are_not_one_half_alone(links: tuple[float, ...], tool: str) -> None:
    """A cable or a switch port of 100G does so, or PCIe links that are narrow alike."""
    said = bandwidth_problem("spark1", found(*links), 175, tool) or ""
    if min(links) > 1:
        assert [
            word for word in ("100G", "'ethtool half0'", "Speed", "LnkSta", "width x4", "fwupdmgr") if word not in said
        ] == []
        assert ("install perftest" in said) is (tool == "iperf3")
    assert "what one half of the cable gives" not in said


FIREWALL, MEMORY = "whether a firewall drops it", "limit of locked memory"
ENDS, BUSY = "GID, address or MTU", "another measurement runs"
ADDRESS = "address of the fabric is not there"
SAYS = ("ib_write_bw", "ib_write_bw printed no result: ")
TCP_SAYS = ("iperf3", "iperf3 failed, and says: ")


@pytest.mark.parametrize(
    ("says", "words", "cause"),
    [
        (SAYS, '"Couldn\'t connect to 192.168.101.11:18516\\nUnable to open file descriptor for socket"', FIREWALL),
        (SAYS, "\"Couldn't allocate MR\\nfailed to create mr\\n Couldn't create IB resources\\n\"", MEMORY),
        (SAYS, '" Failed to modify QP 299 to RTR\\n Unable to Connect the HCA\'s through the link\\n"', ENDS),
        (SAYS, "' Failed to modify RC QP to RTR\\n'", ENDS),
        (TCP_SAYS, "unable to connect to server: Network is unreachable", ADDRESS),
        (TCP_SAYS, "unable to connect to server: Cannot assign requested address", ADDRESS),
        (SAYS, "' IB device rocep1s0f0 not found\\n'", None),
        (SAYS, "''", None),
        (("ib_write_bw", ""), "Command '['ib_write_bw', '-d', 'rocep1s0f0']' timed out after 35 seconds", FIREWALL),
        (TCP_SAYS, "unable to connect to server: Connection refused", FIREWALL),
        (TCP_SAYS, "unable to connect to server - server may have stopped running: Connection timed out", FIREWALL),
        (TCP_SAYS, "error - the server is busy running a test. try again later", BUSY),
        (TCP_SAYS, "unable to receive control message: Connection reset by peer", None),
    ],
)
def test_an_error_is_a_firewall_only_where_it_says_so(says: tuple[str, str], words: str, cause: str | None) -> None:
    tool, start = says
    said = bandwidth_problem("spark1", found(98.0, half1=start + words), 175, tool) or ""
    assert said.startswith("spark1 cannot send to spark2 out of half1 (")
    assert words in said
    assert [one for one in (FIREWALL, MEMORY, ENDS, BUSY, ADDRESS) if one in said] == ([cause] if cause else [])
    assert said.count(tool) == 1


@pytest.mark.parametrize(("tool", "advised"), [("ib_write_bw", False), ("iperf3", True)])
def test_another_tool_is_advised_of_tcp_alone(tool: str, advised: bool) -> None:
    said = bandwidth_problem("spark1", found(80.0, 82.0), 175, tool) or ""
    assert ("install perftest" in said) is advised
    assert "cx7_network_min_gbps" in said


def test_a_slow_card_of_a_host_with_hot_plug_was_hot_added() -> None:
    """Putting the cable back into a running Spark is what makes it slow, so that nothing of the kind is advised."""
    said = bandwidth_problem("spark1", found(6.6, 6.6), 175, "ib_write_bw", ["spark1", "spark2"]) or ""
    assert "Hot-plug is on at spark1, spark2" in said
    assert "cx7_network_hotplug: off" in said
    assert "power out" not in said
    assert bandwidth_problem("spark1", found(95.0, 95.0), 175, "ib_write_bw", ["spark1"]) is None
    half = bandwidth_problem("spark1", found(50.0, 50.0), 175, "ib_write_bw", ["spark1"]) or ""
    assert "Hot-plug" not in half


def test_the_same_share_means_the_same_whatever_is_wanted() -> None:
    for wanted, share in itertools.product((0.2, 80, 175), (0.07, 0.5, 0.9)):
        said = bandwidth_problem(
            "a", {"peer": "b", "gbps": share * wanted, "links": {"x": share * wanted}, "errors": {}}, wanted, "t"
        )
        assert {0.07: "bad state", 0.5: "one half", 0.9: "nothing else uses"}[share] in said
