#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_layers_load
short_description: Load a Docker image from another Spark, as a stream of the layers that are lacking
version_added: 0.1.0
description:
  - >-
    Asks the Spark that runs M(sparkops.dgx_spark.image_layers_serve) for the layers that the engine of this host
    lacks, and has the engine unpack these while they come. No file is written in between.
  - >-
    All that comes is hashed on its way. The image's ID covers its documents, and these name its layers: what is not
    what its name says is not loaded. The module fails unless the engine then has an image of the same ID.
  - >-
    A large image comes in parts of whole layers. After an interruption the next run goes on with the first layer that
    is lacking. The parts are images without a name and with the label C(dgx-spark.part-of), which are removed when the
    image is whole.
  - What Docker has written is given back by the page cache, since a Spark's GPU has no other memory.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.peer_copy.attempts
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
author:
  - sparkops contributors (@sparkops)
options:
  id:
    description: The image's ID. Required for O(state=present).
    type: str
  tag:
    description: A name that the image is given when it is loaded. Empty for none.
    type: str
    default: ""
  name:
    description: Under which name M(sparkops.dgx_spark.peer_copy_key) created the key, which is removed at the end.
    type: str
    default: image
  dir:
    description: The directory of that key. It should be root's own.
    type: path
    default: /run/dgx-spark-copy
  peer:
    description: >-
      Where the other Spark is reached. With O(state=lacking), the key is created where the image is lacking, as
      M(sparkops.dgx_spark.peer_copy_key) does. Empty for none.
    type: str
    default: ""
  address:
    description: Where the other Spark is reached, best an address on the fabric. Required to load something.
    type: str
  port:
    description: Its ssh port.
    type: int
    default: 22
  user:
    description: The user that M(sparkops.dgx_spark.peer_copy_access) ran as there. Required to load something.
    type: str
  host_keys:
    description: The ssh host keys of the other Spark. No Spark with another key is spoken to.
    type: list
    elements: str
    default: []
  encrypted:
    description: Whether the layers are encrypted on their way, see M(sparkops.dgx_spark.peer_copy_connection).
    type: bool
    default: true
  state:
    description:
      - With V(lacking), nothing is loaded. Whether the image is lacking is told, and with O(peer) a key is created.
      - With V(parts_absent), the parts that an interrupted run has left are removed, and nothing is loaded.
    type: str
    choices: [present, lacking, parts_absent]
    default: present
"""

EXAMPLES = r"""
- name: Read whether the image is lacking, and create a key where it is
  sparkops.dgx_spark.image_layers_load:
    id: sha256:60a6274621e7d3b4e2c8f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0
    state: lacking
    peer: 192.168.100.10
  become: true
  register: found

- name: Load the image from the leader
  sparkops.dgx_spark.image_layers_load:
    id: sha256:60a6274621e7d3b4e2c8f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0
    tag: dgx-spark/trtllm-serve:1
    address: 192.168.100.10
    user: "{{ access.user }}"
    host_keys: "{{ access.host_keys }}"
  become: true

- name: Remove what an interrupted copy of an image left
  sparkops.dgx_spark.image_layers_load:
    state: parts_absent
  become: true
"""

RETURN = r"""
id:
  description: The ID that the image has on this host, the same as on the other.
  returned: O(state=present) and O(state=lacking)
  type: str
  sample: sha256:60a6274621e7
lacking:
  description: Whether the engine had no such image before.
  returned: O(state=present) and O(state=lacking)
  type: bool
  sample: true
reader:
  description: As M(sparkops.dgx_spark.peer_copy_key) returns it.
  returned: when a key was created
  type: dict
progress:
  description: As M(sparkops.dgx_spark.peer_copy_key) returns it.
  returned: when a key was created
  type: str
  sample: /run/dgx-spark-copy/copy-image.progress
moved_bytes:
  description: Bytes that crossed the wire for the image, without ssh's own.
  returned: when it was loaded
  type: int
  sample: 268436992
seconds:
  description: How long it took.
  returned: when it was loaded
  type: float
  sample: 12.5
removed:
  description: The IDs of the parts that were removed, or would be.
  returned: O(state=parts_absent)
  type: list
  elements: str
"""

import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET, Docker, DockerError, id_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_layers import release_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_load import (
    Receiver,
    WrongError,
    image_ids,
    remove_parts,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import ImageError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_store import DOCKER_ROOT
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    Connection,
    CopyError,
    Place,
    drop_if_empty,
    source_address,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.keys import made
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import BrokenError, PullError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.transfer import ATTEMPT_OPTIONS, Transfer

_UNPACKING = 3600  # seconds that an engine may be silent about a layer


@contextmanager
def alone(docker: Docker) -> Iterator[None]:
    """Wait for an earlier run, which goes on where its play was interrupted.

    The engine's own directory is locked, which root alone may open: there is no file that stays.
    """
    folder = os.open(docker.info().get("DockerRootDir") or DOCKER_ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def load(receiver: Receiver, asked: dict[str, Any]) -> str:
    """Load the image, in some attempts; return why it is not there, or an empty string.

    :raises DockerError: and others, when another attempt would fail too.
    """
    place, reason = Place(asked["dir"], asked["name"]), ""
    how = Connection(asked["address"], asked["port"], asked["user"], 1, asked["encrypted"])
    place.connect(how, asked["host_keys"])
    transfer = Transfer(place, asked["stall_seconds"])
    for attempt in range(asked["attempts"]):
        time.sleep(min(2**attempt, 30) if attempt else 0)
        try:
            with transfer.connected() as peer:
                peer.be_served()
                receiver.load(peer)
            return ""
        except WrongError as exc:
            reason = str(exc)
        except BrokenError as exc:
            reason = transfer.reason(str(exc))
    return reason


@contextmanager
def key_of_this_run(place: Place) -> Iterator[None]:
    """Remove the key of the copy at the end, but no key of a play that runs by then."""
    own = public_key(place)
    try:
        yield
    finally:
        if public_key(place) == own:
            shutil.rmtree(place.folder, ignore_errors=True)
            drop_if_empty(place.top)


def public_key(place: Place) -> str:
    """Return the public key of a copy, empty where there is none."""
    path = place.key.with_suffix(".pub")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def is_there(docker: Docker, image: str) -> bool:
    """Whether the engine has an image of this very ID."""
    about = docker.image(image)
    return about is not None and id_of(about) == image


def named(tag: str) -> str:
    """Return how the engine is asked to give an image a name."""
    repo, colon, version = tag.rpartition(":")
    if not colon or "/" in version:
        repo, version = tag, "latest"
    return f"repo={quote(repo, safe='')}&tag={quote(version, safe='')}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "id": {"type": "str"},
            "tag": {"type": "str", "default": ""},
            "name": {"type": "str", "default": "image"},
            "dir": {"type": "path", "default": "/run/dgx-spark-copy"},
            "peer": {"type": "str", "default": ""},
            "address": {"type": "str"},
            "port": {"type": "int", "default": 22},
            "user": {"type": "str"},
            "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "encrypted": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "lacking", "parts_absent"], "default": "present"},
            **ATTEMPT_OPTIONS,
        },
        supports_check_mode=True,
    )
    asked, docker, began = module.params, Docker(timeout=_UNPACKING), time.monotonic()
    try:
        if asked["state"] == "parts_absent":
            going = image_ids(docker, parts_of_image=True) if Path(SOCKET).exists() else []
            if going and not module.check_mode:
                with alone(docker):
                    going = remove_parts(docker)
            module.exit_json(changed=bool(going), removed=going)
        if not asked["id"]:
            module.fail_json(msg="id is missing: which image is to be there. Nothing was changed.")
        lacking = not is_there(docker, asked["id"])
        found: dict[str, Any] = {"id": asked["id"], "lacking": lacking}
        if asked["state"] == "lacking" and lacking and asked["peer"] and not module.check_mode:
            place, own = Place(asked["dir"], asked["name"]), source_address(asked["peer"], asked["port"])
            found.update(made(place, own, lambda argv: module.run_command(argv, check_rc=True)))
            module.exit_json(changed=True, **found)
        if asked["state"] == "lacking":
            module.exit_json(changed=lacking and bool(asked["peer"]), **found)
        if not lacking or module.check_mode:
            module.exit_json(changed=lacking, **found)
        if not (asked["address"] and asked["user"]):
            module.fail_json(msg=f"address or user is missing: from where {asked['id']} comes. Nothing was changed.")
        place = Place(asked["dir"], asked["name"])
        with key_of_this_run(place), alone(docker):
            receiver = Receiver(docker, asked["id"], os.uname().machine)
            what, path, reason = f"{asked['tag'] or asked['id']} copied", place.progress, ""
            if not is_there(docker, asked["id"]):  # an earlier run may have brought it by now
                with progress_file.written(path, what, lambda: receiver.whole, lambda: receiver.moved):
                    reason = load(receiver, asked)
            if not is_there(docker, asked["id"]):
                reason = reason or "Docker has loaded another image"
                module.fail_json(msg=f"{asked['id']} could not be copied: {reason}")
            if asked["tag"]:
                docker.ask("POST", f"/images/{asked['id']}/tag?{named(asked['tag'])}")
            remove_parts(docker)
            release_image(docker.image(asked["id"]))
    except (CopyError, DockerError, ImageError, PullError, OSError) as exc:
        module.fail_json(msg=f"{asked['id'] or 'The parts'} could not be copied: {told(exc)}")
    found.update(moved_bytes=receiver.moved, seconds=round(time.monotonic() - began, 1))
    module.exit_json(changed=True, **found)


if __name__ == "__main__":
    main()
