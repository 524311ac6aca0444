# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an `hf` that was ended has left of a file: put aside, and completed where it is the file's beginning."""

from __future__ import annotations

import hashlib
import http.server
import threading
from pathlib import Path
from typing import Iterator, NamedTuple

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import resume
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile

CONTENT = bytes(range(256)) * 8000
FILE = HashedFile("sub/model 1.safetensors", len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
MODEL = Model("lab/tiny", "c" * 40, "main", (FILE,))


class Hub(NamedTuple):
    """``asked``: host, path, token and range of every request. ``answers``: status of the next ones, if not 206."""

    url: str
    asked: list[tuple[str, str, str | None, str | None]]
    answers: list[int]


@pytest.fixture
def hub() -> Iterator[Hub]:
    asked: list[tuple[str, str, str | None, str | None]] = []
    answers: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host, span = self.headers["Host"], self.headers["Range"]
            asked.append((host, self.path, self.headers["Authorization"], span))
            if host.startswith("127."):  # to its content delivery, which is another origin
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{self.server.server_port}/signed")
                self.end_headers()
                return
            first, status = int(span[6:-1]), answers.pop(0) if answers else 206
            rest = CONTENT[first:]
            self.send_response(status)
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.end_headers()
            self.wfile.write(rest)

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Hub(f"http://127.0.0.1:{server.server_port}", asked, answers)
        server.shutdown()


@pytest.fixture
def cache(tmp_path: Path) -> hf_cache.Cache:
    one = hf_cache.Cache(tmp_path, MODEL.repo)
    one.blobs.mkdir(parents=True)
    return one


def clear(cache: hf_cache.Cache) -> None:
    hf_cache.clear_wrong(cache, hf_cache.look(cache, MODEL, hf_cache.Notes(cache.notes)))


def complete(cache: hf_cache.Cache, hub: Hub) -> tuple[list[HashedFile], str]:
    source = resume.Source(hub.url, "hf_secret", "", 30)
    return resume.complete(cache, MODEL, [FILE], source, lambda *_about: None)


def test_the_longest_part_is_completed(cache: hf_cache.Cache, hub: Hub) -> None:
    for name, size in (("aaaa", 70_000), ("bbbb", 1_500_000), ("cccc", 0), ("dddd", len(CONTENT) + 1)):
        (cache.blobs / f"{FILE.blob}.{name}.incomplete").write_bytes((CONTENT + b"x")[:size])
    report = hf_cache.look(cache, MODEL, hf_cache.Notes(cache.notes))
    clear(cache)
    assert [path.name for path in cache.blobs.iterdir()] == [hf_cache.PARTIAL_DIR]
    assert hf_cache.look(cache, MODEL, hf_cache.Notes(cache.notes)).reclaimable == 1_500_000 < report.reclaimable
    assert complete(cache, hub) == ([], "")
    assert (cache.blobs / FILE.blob).read_bytes() == CONTENT
    (first, then) = hub.asked
    path = f"/lab/tiny/resolve/{MODEL.commit}/sub/model%201.safetensors"
    assert first[1:] == (path, "Bearer hf_secret", "bytes=1500000-")
    assert then[2:] == (None, "bytes=1500000-"), "another origin sees no token"


def test_a_longer_part_of_an_earlier_attempt_is_kept(cache: hf_cache.Cache) -> None:
    cache.partial.mkdir()
    (cache.partial / FILE.blob).write_bytes(CONTENT[:1000])
    (cache.blobs / f"{FILE.blob}.incomplete").write_bytes(CONTENT[:10])
    clear(cache)
    assert (cache.partial / FILE.blob).stat().st_size == 1000
    assert not (cache.blobs / f"{FILE.blob}.incomplete").exists()


@pytest.mark.parametrize(
    ("status", "kept", "says"),
    [(200, False, ""), (416, False, ""), (403, True, ""), (503, True, "the rest of it did not come (HTTP 503)")],
    ids=["no ranges", "no such range", "no access, which hf is told as well", "later perhaps"],
)
def test_a_hub_that_does_not_send_the_rest(cache: hf_cache.Cache, hub: Hub, status: int, kept: bool, says: str) -> None:
    (cache.blobs / f"{FILE.blob}.incomplete").write_bytes(CONTENT[:1000])
    clear(cache)
    hub.answers.append(status)
    left, broken = complete(cache, hub)
    assert (left, broken.partition(": ")[2]) == ([FILE], says)
    assert (cache.partial / FILE.blob).exists() is kept


def test_what_is_no_beginning_is_left_to_hf(cache: hf_cache.Cache, hub: Hub) -> None:
    (cache.blobs / f"{FILE.blob}.incomplete").write_bytes(b"other")
    clear(cache)
    assert complete(cache, hub) == ([FILE], "")
    assert not (cache.partial / FILE.blob).exists()


def test_a_hub_that_is_gone_leaves_the_part(cache: hf_cache.Cache) -> None:
    (cache.blobs / f"{FILE.blob}.incomplete").write_bytes(CONTENT[:1000])
    clear(cache)
    left, broken = complete(cache, Hub("http://127.0.0.1:1", [], []))
    assert (left, (cache.partial / FILE.blob).stat().st_size) == ([FILE], 1000)
    assert broken.startswith("sub/model 1.safetensors: the rest of it did not come (")
