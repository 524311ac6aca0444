# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of a gateway: whom it is for, when it ends, and how openssl is told to make it. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timezone
from typing import Iterable, Mapping, Sequence

#: for how long a certificate is good, which is what Apple's systems accept, and an authority
LEAF_DAYS, AUTHORITY_DAYS = 397, 3650
#: a certificate with less than that left is made anew
RENEW_DAYS = 30
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_DATE = re.compile(r"^notAfter=(.+)$", re.MULTILINE)
_SHA1 = re.compile(r"^sha1 Fingerprint=([0-9A-F:]+)$", re.MULTILINE | re.IGNORECASE)
_NAME = re.compile(r"(DNS|IP Address):([^,\s]+)")


class CertificateError(ValueError):
    """No such certificate can be; the message says why."""


def is_dns_name(name: str) -> bool:
    """Whether a certificate can be for a name.

    >>> is_dns_name("spark1.local"), is_dns_name("10.0.0.7"), is_dns_name("a b")
    (True, False, False)
    """
    labels = name.split(".")
    return len(name) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def split(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names and addresses that a certificate is to be for, each in order and once.

    :raises CertificateError: for what is neither.
    """
    hosts: list[str] = []
    addresses: list[str] = []
    for name in names:
        try:
            addresses.append(str(ipaddress.ip_address(name)))
        except ValueError:
            if not is_dns_name(name):
                raise CertificateError(f"{name!r} is no name and no address that a certificate can be for") from None
            hosts.append(name.lower())
    return list(dict.fromkeys(hosts)), list(dict.fromkeys(addresses))


def read(said: str) -> dict[str, object]:
    """What a certificate is for, until when, in seconds since the epoch, and its SHA-1, by which HAProxy names it.

    :param said: what ``openssl x509 -noout -enddate -fingerprint -sha1 -ext subjectAltName`` prints; empty where there
        is none.

    >>> read("notAfter=Jan  1 00:00:00 2027 GMT\\n    DNS:spark1, IP Address:10.0.0.7\\n")
    {'not_after': 1798761600, 'names': ['spark1', '10.0.0.7'], 'sha1': ''}
    >>> read("")
    {'not_after': 0, 'names': [], 'sha1': ''}
    """
    date, sha1 = _DATE.search(said), _SHA1.search(said)
    names = [_name(kind, value) for kind, value in _NAME.findall(said)]
    return {
        "not_after": _seconds(date[1]) if date else 0,
        "names": names,
        "sha1": sha1[1].replace(":", "").upper() if sha1 else "",
    }


def _seconds(date: str) -> int:
    try:
        return int(datetime.strptime(date.strip(), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=timezone.utc).timestamp())
    except ValueError:
        return 0


def _name(kind: str, value: str) -> str:
    """openssl writes an IPv6 address in full."""
    try:
        return str(ipaddress.ip_address(value)) if kind == "IP Address" else value
    except ValueError:
        return value


def why_new(found: Mapping[str, object], names: Sequence[str], now: float, days: int = RENEW_DAYS) -> str:
    """Say why a certificate has to be made, or nothing. A name that it has beside these is no reason.

    :param found: as :func:`read` returns it. :param now: in seconds since the epoch.
    :param days: within which one that ends is made anew.

    >>> why_new({"not_after": 0, "names": []}, ["spark1"], 0)
    'there is none'
    """
    end, has = found.get("not_after"), found.get("names")
    if not isinstance(end, int) or not end or not isinstance(has, list):
        return "there is none"
    if end < now + days * 86400:
        return f"it ends in {max(0, int((end - now) // 86400))} days"
    lacking = [name for name in names if name not in has]
    return f"it is not for {' and '.join(lacking)}" if lacking else ""


def request(names: Sequence[str]) -> str:
    """What openssl is told of a certificate for these names."""
    hosts, addresses = split(names)
    every = ",".join([*(f"DNS:{name}" for name in hosts), *(f"IP:{address}" for address in addresses)])
    return (
        f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
        f"subjectAltName={every}\n"
    )


def pem_parts(text: str) -> list[str]:
    """What a PEM file holds, by the labels of its parts.

    >>> pem_parts("-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\\n")
    ['CERTIFICATE']
    """
    return re.findall(r"^-----BEGIN ([A-Z0-9 ]+)-----$", text, re.MULTILINE)


def owners_problem(certificate: str, key: str) -> str:
    """Say why the certificate and the key of the owner cannot be used, or nothing."""
    if "CERTIFICATE" not in pem_parts(certificate):
        return "api_gateway_certificate holds no certificate in PEM"
    if not any(part.endswith("PRIVATE KEY") for part in pem_parts(key)):
        return "api_gateway_certificate_key holds no private key in PEM"
    if "ENCRYPTED PRIVATE KEY" in pem_parts(key) or "Proc-Type: 4,ENCRYPTED" in key:
        return "api_gateway_certificate_key is encrypted, and nobody types its password at a boot: give it without one"
    return ""


def joined(certificates: str, key: str) -> str:
    """Certificates and their key as one file, as HAProxy reads them.

    >>> joined("a\\n\\n", "b")
    'a\\nb\\n'
    """
    return f"{certificates.strip()}\n{key.strip()}\n"
