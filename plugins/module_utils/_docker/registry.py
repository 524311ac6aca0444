# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry tells of images that are not pulled yet: tags, sizes, and what an image says of itself.

Docker's own API passes none of that on.

This module util is private to the collection. Nothing here is needed to pull: where a registry does not answer in this
way, the size is unknown.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import re
import ssl
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Tuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import ARCHITECTURES
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

HUB, HUB_SERVER = "docker.io", "registry-1.docker.io"
CERTIFICATES = "/etc/docker/certs.d"
ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        *("oci.image.index.v1", "oci.image.manifest.v1"),
        *("docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"),
    )
)
_TIMEOUT_S = 20.0
_MOST_BYTES = 4 << 20  # of a manifest, as registries limit it
_MOST_PAGES = 50  # of a list of tags
_MOST_MOVES = 3  # from a registry to where it keeps what is asked for
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')

Login = Tuple[str, str]


class RegistryError(ValueError):
    """The registry does not tell."""


_reads_answers = reads(
    RegistryError,
    "what the registry or Docker Engine says",
    "the size of an image is unknown then",
)


class Reference(NamedTuple):
    """An image at its registry."""

    server: str
    repository: str
    version: str  # a tag or a digest


def reference(name: str) -> Reference:
    """Return where Docker would look for an image.

    >>> reference("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5")
    Reference(server='nvcr.io', repository='nvidia/tensorrt-llm/release', version='1.3.0rc5')
    >>> reference("debian"), reference("localhost:5000/a@sha256:0f")[2]
    (Reference(server='registry-1.docker.io', repository='library/debian', version='latest'), 'sha256:0f')
    """
    path, _at, digest = name.partition("@")
    first, slash, rest = path.partition("/")
    server = first if slash and (first == "localhost" or "." in first or ":" in first) else HUB
    repository, _colon, tag = (rest if server is first else path).partition(":")
    if server == HUB:
        server, repository = HUB_SERVER, repository if "/" in repository else f"library/{repository}"
    return Reference(server, repository, digest or tag or "latest")


@_reads_answers
def compressed_bytes(manifest: Mapping[str, Any]) -> int:
    """Return the bytes of an image's layers as the registry has them.

    :raises RegistryError: where this is no manifest of one image.
    """
    layers = manifest.get("layers")
    if not isinstance(layers, list) or not layers:
        raise RegistryError("this is no manifest with layers")
    return sum(int(layer["size"]) for layer in layers)


@_reads_answers
def digest_for(index: Mapping[str, Any], machine: str) -> str:
    """Return the digest of the image for a processor, from an index of images for several.

    :param machine: as the kernel names it. :returns: empty where this is no index.
    :raises RegistryError: where none is for that processor.
    """
    if "manifests" not in index:
        return ""
    wanted = ARCHITECTURES.get(machine, machine)
    for one in index["manifests"]:
        if (one.get("platform") or {}).get("architecture") == wanted:
            return str(one["digest"])
    raise RegistryError(f"no image is for {wanted}")


def challenge(header: str) -> tuple[str, dict[str, str]]:
    """Return the scheme of a WWW-Authenticate header, and its parameters.

    >>> challenge('Bearer realm="https://nvcr.io/proxy_auth",scope="repository:nvidia/a:pull"')[0]
    'bearer'
    """
    scheme, _blank, rest = header.partition(" ")
    return scheme.lower(), dict(_PARAMETER.findall(rest))


@_reads_answers
def tags_in(answer: Mapping[str, Any]) -> list[str]:
    """Return the tags of one page of a list of tags; a repository without any may have none, or null.

    >>> tags_in({"name": "a/b", "tags": ["1", "2"]}), tags_in({"name": "a/b", "tags": None})
    (['1', '2'], [])
    """
    tags = answer["tags"] or []
    if not isinstance(tags, list):
        raise RegistryError("this is no list of tags")
    return [str(tag) for tag in tags]


def next_page(link: str) -> str:
    """Return where a list goes on, by the header Link of an answer; empty where this is its end.

    >>> next_page('</v2/a/b/tags/list?last=2&n=2>; rel="next"'), next_page("")
    ('/v2/a/b/tags/list?last=2&n=2', '')
    """
    found = _NEXT.search(link)
    return found[1] if found else ""


class _Answer(NamedTuple):
    """An answer; the names of its headers in small letters."""

    status: int
    headers: Mapping[str, str]
    found: Any


class Registry:
    """One registry, over TLS, with the certificates that Docker trusts for it.

    :param proxy: the address of an HTTP proxy; empty for none. :param timeout: seconds that one answer may take.
    """

    def __init__(
        self, server: str, proxy: str = "", certificates: str = CERTIFICATES, *, timeout: float = _TIMEOUT_S
    ) -> None:
        self._server, self._proxy, self._timeout = server, proxy, timeout
        self._known: dict[str, str] = {}  # what the registry wants to see before it shows a repository
        self._trust = ssl.create_default_context()
        for path in sorted(Path(certificates, server).glob("*.crt")):
            self._trust.load_verify_locations(cafile=str(path))

    def manifest(self, repository: str, version: str, login: Login | None) -> Any:
        """Return a manifest or an index. :raises RegistryError: OSError and HTTPException, where there is none."""
        return self._get(repository, f"manifests/{version}", login).found

    def config(self, repository: str, digest: str, login: Login | None) -> Any:
        """Return the configuration of an image, which its manifest names by a digest.

        :raises RegistryError: OSError and HTTPException, where there is none.
        """
        return self._get(repository, f"blobs/{digest}", login).found

    def tags(self, repository: str, login: Login | None) -> list[str]:
        """Return all tags of a repository, page by page.

        :raises RegistryError: OSError and HTTPException, where there is no such list.
        """
        found, rest = [], "tags/list"
        for _page in range(_MOST_PAGES):
            answer = self._get(repository, rest, login)
            found += tags_in(answer.found)
            rest = next_page(answer.headers.get("link", ""))
            if not rest:
                return found
        raise RegistryError(f"its list of tags has no end after {_MOST_PAGES} pages")

    def _get(self, repository: str, rest: str, login: Login | None) -> _Answer:
        base = f"https://{self._server}/v2/{quote(repository)}/"
        url = urljoin(base, rest) if rest.startswith(("/", "https://")) else f"{base}{rest}"
        if urlsplit(url).netloc != self._server:  # no token leaves the registry
            raise RegistryError(f"its list of tags goes on at {url}")
        answer = self._json(url, self._known.get(repository, ""))
        if answer.status == 401:
            asks = answer.headers.get("www-authenticate", "")
            self._known[repository] = self._authorization(asks, login)
            answer = self._json(url, self._known[repository])
        if answer.status != 200:
            raise RegistryError(f"HTTP status {answer.status}")
        return answer

    def _authorization(self, asks: str, login: Login | None) -> str:
        scheme, asked = challenge(asks)
        basic = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}" if login else ""
        if scheme == "basic":
            return basic
        realm = asked.get("realm", "")
        if scheme != "bearer" or not realm.startswith("https://"):
            raise RegistryError(f"it asks for {scheme}, to be had from {realm}")
        query = urlencode({name: value for name, value in asked.items() if name in ("service", "scope")})
        answer = self._json(f"{realm}?{query}", basic).found
        return f"Bearer {answer.get('token') or answer['access_token']}"

    def _json(self, url: str, authorization: str) -> _Answer:
        """Return an answer, its text as JSON. Where the server sends to another one, that is shown no login."""
        for _move in range(_MOST_MOVES):
            answer = self._once(url, authorization)
            place = answer.headers.get("location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not place:
                return answer
            moved = urljoin(url, place)
            if not moved.startswith("https://"):
                raise RegistryError(f"it sends to {urlsplit(moved).netloc} without TLS")
            authorization = authorization if urlsplit(moved).netloc == urlsplit(url).netloc else ""
            url = moved
        raise RegistryError(f"it sends from place to place, {_MOST_MOVES} times")

    def _once(self, url: str, authorization: str) -> _Answer:
        parts = urlsplit(url)
        via = urlsplit(self._proxy if "//" in self._proxy else f"//{self._proxy}") if self._proxy else parts
        connection = http.client.HTTPSConnection(
            via.hostname or "", via.port, timeout=self._timeout, context=self._trust
        )
        if self._proxy:
            connection.set_tunnel(parts.hostname or "", parts.port or 443)
        try:
            headers = {"Accept": ACCEPT, **({"Authorization": authorization} if authorization else {})}
            connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
            answer = connection.getresponse()
            text = answer.read(_MOST_BYTES)
            found = json.loads(text) if answer.status == 200 else {}
            return _Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, found)
        finally:
            connection.close()


@_reads_answers
def proxy_for(server: str, info: Mapping[str, Any]) -> str:
    """Return the proxy by which an engine reaches a registry; empty for none, or one with a password, which it hides.

    :param info: what the engine says of itself.

    >>> proxy_for("nvcr.io", {"HttpsProxy": "http://proxy:3128", "NoProxy": "localhost"})
    'http://proxy:3128'
    >>> proxy_for("nvcr.io", {"HttpsProxy": "http://proxy:3128", "NoProxy": "localhost,.io"})
    ''
    >>> proxy_for("nvcr.io", {"HttpsProxy": "http://xxxxx:xxxxx@proxy:3128"})
    ''
    """
    proxy = str(info.get("HttpsProxy") or "")
    beside = _is_exempt(server, str(info.get("NoProxy") or ""))
    return "" if beside or "xxxxx:xxxxx@" in proxy else proxy


def _is_exempt(server: str, exempt: str) -> bool:
    """Whether a server is asked without a proxy, by the rules of golang.org/x/net/http/httpproxy, which Docker has."""
    host, port = _host_and_port(server.lower())
    host, port = host.strip("[]"), port or "443"
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    for one in (part.strip().lower() for part in exempt.split(",")):
        name, its_port = _host_and_port(one)
        if one == "*" or (address and _holds(one, address)):
            return True
        if not name or its_port not in ("", port):
            continue
        its_address = _address(name)
        suffix = name[1:] if name.startswith("*.") else name if name.startswith(".") else f".{name}"
        if host == name or host.endswith(suffix) if its_address is None else address == its_address:
            return True
    return False


def _host_and_port(text: str) -> tuple[str, str]:
    """Return the two parts of `host:port`; an IPv6 address stands in brackets where it has a port."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    if not colon or ":" in host:
        return text, ""
    return host, port


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this is a network, and holds the address."""
    try:
        return network.rpartition("/")[2].isdigit() and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def image_bytes(name: str, machine: str, login: Login | None, info: Mapping[str, Any]) -> int:
    """Return the compressed bytes of an image at its registry, 0 where the registry does not tell.

    :param machine: the processor, as the kernel names it. :param info: what the engine says of itself.
    """
    asked = reference(name)
    try:
        registry = Registry(asked.server, proxy_for(asked.server, info))
        found = registry.manifest(asked.repository, asked.version, login)
        digest = digest_for(found, machine)
        return compressed_bytes(registry.manifest(asked.repository, digest, login) if digest else found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
        return 0
