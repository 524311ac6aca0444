# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory that the other playbooks take, as text. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
import shlex
from typing import Sequence

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.ssh_config import known_hosts_option, tunnel

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*", re.ASCII)


def scalar(value: str) -> str:
    """A string as YAML, plain where it reads back as the same string.

    >>> scalar("spark1"), scalar("no"), scalar("192.168.1.21"), scalar("fd00::1")
    ('spark1', '"no"', '192.168.1.21', '"fd00::1"')
    """
    plain = _PLAIN.fullmatch(value) or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value, re.ASCII)
    return value if plain and yaml.safe_load(value) == value else _double_quoted(value)


def _double_quoted(value: str) -> str:
    return yaml.safe_dump(value, default_style='"', width=10**6, allow_unicode=True).rstrip("\n")


def inventory(sparks: Sequence[Spark], user: str, model: str, key: str = "", known_hosts: str = "") -> str:
    """Return the text of an inventory, which looks as the examples in ``inventory/`` do.

    :param sparks: in rank order. :param key: the private key's path, where ssh would not take it by itself.
    :param known_hosts: the path of another file than ssh's own.
    """
    number = {1: "One Spark", 2: "Two Sparks"}.get(len(sparks), f"{len(sparks)} Sparks")
    lines = [
        f"# {number}, as sparkops.dgx_spark.setup has written them down; edit what you like.",
        "spark:",
        "  hosts:",
    ]
    if len(sparks) > 1:
        lines += [
            "    # The first is the leader: rank 0, and where the API listens. ansible_host is the management address;",
            "    # addresses on the cable are planned, never typed.",
        ]
    lines += [f"    {scalar(one.name)}: {{{', '.join(_variables(one))}}}" for one in sparks]
    lines += ["  vars:", f"    ansible_user: {scalar(user)}"]
    if key:
        lines.append(f"    ansible_ssh_private_key_file: {scalar(key)}")
    if known_hosts:
        lines.append(f"    ansible_ssh_common_args: {scalar(known_hosts_option(known_hosts))}")
    lines.append(f"    spark_model: {scalar(model)}")
    return "\n".join(lines) + "\n"


def commands(
    sparks: Sequence[Spark],
    user: str,
    path: str,
    port: int,
    checkout: bool,
    named: bool = False,
    key: str = "",
    known_hosts: str = "",
) -> list[str]:
    """Return what to type next, each with what it is for.

    :param path: of the inventory. :param checkout: whether the playbooks are files here. :param named: whether the
        configuration of ssh knows the Sparks by their names.
    """
    main = {1: "single_spark", 2: "two_spark"}.get(len(sparks), "serve")

    def play(name: str) -> str:
        book = f"playbooks/{name}.yml" if checkout else f"sparkops.dgx_spark.{name}"
        return f"ansible-playbook -i {shlex.quote(path)} {book} --ask-become-pass"

    said = [f"{play('plan')} --check --diff  # shows what would change, and changes nothing", f"{play(main)}  # serves"]
    if not sparks[0].here:
        way = tunnel(user, sparks[0], port, named, key, known_hosts)
        said.append(f"{way}  # meanwhile this machine has the API too, at http://127.0.0.1:{port}/v1")
    return said


def _variables(one: Spark) -> list[str]:
    said = [f"ansible_host: {scalar(one.address)}"]
    if one.port != 22 and not one.here:
        said.append(f"ansible_port: {one.port}")
    if one.here:
        said.append("ansible_connection: local")
    return said
