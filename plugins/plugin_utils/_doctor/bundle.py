# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive for a bug report: what was read and found, without secrets, and with what names a machine made unknown.

This plugin util is private to the collection.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact

READ_ME = """\
What the doctor of sparkops.dgx_spark read and found: report.txt for people, report.json for programs, and of each
Spark what its module told, with the last lines of the logs of serving containers.

Secrets were taken out twice, where they were read and when this archive was made: tokens, keys, passwords, what is
named like one of these, and user names and passwords in addresses. Serial numbers are not read; machine IDs, hardware
addresses and UUIDs of GPUs are replaced, equal ones by equal words. Host names, user names, private network addresses
and paths are in it: look through it before you give it to others.
"""
#: what names one machine, wherever it stands
_MACHINE = re.compile(
    r"\bGPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE
)
#: facts that name one machine whole
_NAMES = ("machine_id", "boot_id")
#: variables that hold a secret, by any of Ansible's names for it
SECRETS = (
    *("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
    *("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_ssh_private_key_passphrase"),
    *("spark_hf_token", "hf_cache_token", "spark_ngc_api_key", "engine_serve_registry_password"),
    *("spark_alert_url", "engine_serve_alert_url"),
)


def files(
    told: Mapping[str, Mapping[str, Any]], document: Mapping[str, Any], lines: Sequence[str], about: Mapping[str, Any]
) -> dict[str, str]:
    """The files of an archive by name, before they are cleaned.

    :param told: what each host told. :param document: the report for programs, :param lines: and for people.
    :param about: versions.
    """
    found = {
        "README.txt": READ_ME,
        "versions.json": _json(about),
        "report.json": _json(document),
        "report.txt": "\n".join(lines) + "\n",
    }
    for host, facts in told.items():
        read = dict(facts.get("read") or {})
        logs = read.pop("logs", {})
        for container, said in logs.items():
            found[f"{_name(host)}/logs/{_name(container)}.log"] = "\n".join(map(str, said)) + "\n"
        kernel = read.pop("kernel_log", [])
        if kernel:
            found[f"{_name(host)}/logs/kernel.log"] = "\n".join(map(str, kernel)) + "\n"
        found[f"{_name(host)}/facts.json"] = _json({**facts, "read": read})
    return found


def cleaned(texts: Mapping[str, str], secrets: Iterable[str] = ()) -> dict[str, str]:
    """The files without secrets.

    :param secrets: that are known, and go wherever they stand; short ones would take words with them and stay.
    """
    known = sorted({str(one) for one in secrets if len(str(one)) >= 6}, key=len, reverse=True)
    return {_clean(name, known): _document(text, known) for name, text in texts.items()}


def _document(text: str, known: Sequence[str]) -> str:
    """A document of JSON with each of its values cleaned, so that it stays one; any other text as a whole."""
    try:
        found = json.loads(text)
    except ValueError:
        return _clean(text, known)
    return _json(_values(redact.value(found), known))


def _clean(text: str, known: Sequence[str]) -> str:
    for secret in known:
        text = text.replace(secret, redact.GONE)
    return _MACHINE.sub(lambda match: _digest(match[0]), redact.text(text))


def _values(found: Any, known: Sequence[str]) -> Any:
    if isinstance(found, dict):
        return {
            _clean(key, known): _digest(one) if key in _NAMES and isinstance(one, str) and one else _values(one, known)
            for key, one in found.items()
        }
    if isinstance(found, list):
        return [_values(one, known) for one in found]
    return _clean(found, known) if isinstance(found, str) else found


def _digest(text: str) -> str:
    return f"(machine {hashlib.sha256(text.lower().encode()).hexdigest()[:8]})"


def archive(texts: Mapping[str, str], top: str, at: float) -> bytes:
    """A tar.gz of the files in one directory. :param top: that directory. :param at: the time of all files."""
    raw = io.BytesIO()
    packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=int(at), filename="")
    with packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in sorted(texts.items()):
            content = text.encode("utf-8", errors="replace")
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(at), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return raw.getvalue()


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"


def _json(found: Any) -> str:
    return json.dumps(found, indent=1, sort_keys=True, default=str) + "\n"
