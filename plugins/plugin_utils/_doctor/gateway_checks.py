# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a Spark's API gateways. Pure functions of facts.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.certificate import RENEW_DAYS
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, Seen

DAY_S = 86400


def gateway_down(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        unit = one["unit"]
        if unit["active"] not in ("active", "reloading"):
            result = f" ({unit['result']})" if unit["result"] not in ("", "success") else ""
            # One that undo has removed, or somebody has disabled, would not start.
            data = ({"unit": f"{one['name']}.service"},) if one["enabled"] and not one["holders"] else ()
            yield Seen(f"{one['name']}.service is {unit['active']}{result}", data=data)


def gateway_disabled(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        if not one["enabled"]:
            yield Seen(f"{one['name']}.service is not enabled")


def gateway_port_taken(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        if one["holders"]:
            yield Seen(f"{one['name']} is to listen on {one['listens']}, which {' and '.join(one['holders'])} has")


def gateway_certificate_ended(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        ends = one["ends_at"]
        if ends == 0:
            yield Seen(f"{one['name']} has no certificate that openssl can read")
        elif ends is not None and ends <= facts.at:
            yield Seen(f"the certificate of {one['name']} ended {(facts.at - ends) / DAY_S:.0f} days ago")


def gateway_certificate_ends(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        ends = one["ends_at"]
        if ends and facts.at < ends < facts.at + RENEW_DAYS * DAY_S:
            yield Seen(f"the certificate of {one['name']} ends in {(ends - facts.at) / DAY_S:.0f} days")


def gateway_clients_damaged(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        if one["clients_problem"]:
            yield Seen(one["clients_problem"])


def gateway_keys_readable(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        yield from (Seen(path) for path in one["readable"])


def gateway_changed(facts: Facts) -> Iterator[Seen]:
    for one in _gateways(facts):
        if not one["as_written"]:
            yield Seen(f"haproxy.cfg or gateway.lua of {one['name']} is not as the role has written it")
        if one["reads"] is False:
            yield Seen(f"the HAProxy of {one['name']} runs with another configuration than its haproxy.cfg")


def _gateways(facts: Facts) -> list[Mapping[str, Any]]:
    return list(facts.get("gateways"))
