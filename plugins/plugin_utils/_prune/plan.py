# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models and images are removed from which Spark: those that are named, or what was used longest ago.

Pure functions. What a Spark needs, all of them keep: a leader's configuration names what its workers serve as well.

This plugin util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.images import with_digests
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import gigabytes

MODEL, IMAGE = "model", "image"
OURS = "dgx-spark"  #: the label of the images that this collection builds
REMOVE = {MODEL: "Remove the model", IMAGE: "Remove the image"}
NOTHING = "Nothing was changed."
PINNED = "it is pinned (prune_keep)"
#: by kind and key
Reasons = Dict[Tuple[str, str], List[str]]


class PruneError(ValueError):
    """What was asked for is not removed, or does not make the room; the message says which, why, and what to do."""


class Thing(NamedTuple):
    """A model or an image of one host.

    :param key: the repository, or the ID. :param names: of an image, its tags and digests.
    """

    kind: str
    key: str
    names: tuple[str, ...]
    bytes: int
    last_used: float
    ours: bool
    busy: bool
    layers: tuple[str, ...]

    @property
    def called(self) -> str:
        """For people: of an image its first name."""
        return next(iter(self.names), self.key)


@dataclass(frozen=True)
class Asked:
    """What is to be removed, and what is not.

    :param free_gb: that are to be free where the cache and where the images are; None where nothing is said of that.
    :param models: repositories. :param images: tags, digests or IDs. :param keep: of both.
    :param served: what the inventory names to be served, and by which variable. It stays, unless it is named.
    """

    free_gb: float | None = None
    models: Sequence[str] = ()
    images: Sequence[str] = ()
    keep: Sequence[str] = ()
    served: Mapping[str, str] = field(default_factory=dict)


class Host(NamedTuple):
    """A host, with what it has."""

    name: str
    things: list[Thing]
    filesystems: Mapping[str, Mapping[str, Any]]
    now: float

    def free(self, kind: str) -> Mapping[str, Any]:
        """The file system on which things of a kind are."""
        return self.filesystems["cache" if kind == MODEL else "images"]


class Plan(NamedTuple):
    """By host what goes: whole things, and of images that stay single names; and lines for people."""

    removes: dict[str, list[Thing]]
    untags: dict[str, list[Thing]]
    lines: list[str]


def plan(members: Mapping[str, Mapping[str, Any]], asked: Asked) -> Plan:
    """What is removed from each host. :param members: what each told, as prune_host_info returns it.

    :raises PruneError: where something that is named stays, or the room cannot be made.
    """
    hosts = [host_of(name, told) for name, told in members.items()]
    stays = kept(hosts, members, asked.keep)
    named, untags = _named(hosts, asked, stays)
    removes = dict(named)
    if asked.free_gb is not None:
        stays = _merged(stays, _served(hosts, asked.served))
        ages = last_used(hosts)
        failed = []
        for host in hosts:
            removes[host.name], problem = _to_free(host, named[host.name], stays, ages, asked.free_gb * 1e9)
            failed += [problem] if problem else []
        if failed:
            raise PruneError(f"{'. '.join(failed)}. {NOTHING}")
    return Plan(removes, untags, list(_lines(hosts, removes, untags, stays)))


def host_of(name: str, told: Mapping[str, Any]) -> Host:
    """A host of what it told."""
    bases = {image["labels"].get(BASE_LABEL) for image in told["images"] if OURS in image["labels"]}
    models = [
        Thing(MODEL, one["repo"], (), one["bytes"], one["last_used"], one["noted"], one["busy"], ())
        for one in told["models"]
    ]
    images = []
    for one in told["images"]:
        ours = OURS in one["labels"] or bool(bases & set(one["names"]))
        about = (one["bytes"], one["last_used"], ours, False, tuple(one["layers"]))
        images.append(Thing(IMAGE, one["id"], tuple(one["names"]), *about))
    return Host(name, [*models, *_with_their_uses(images)], told["filesystems"], told["now"])


def _with_their_uses(images: Sequence[Thing]) -> list[Thing]:
    """An image is used as well when one is that was built on it."""
    return [
        one._replace(last_used=max(other.last_used for other in images if other is one or _is_below(one, other)))
        for one in images
    ]


def _is_below(one: Thing, other: Thing) -> bool:
    return bool(one.layers) and len(other.layers) > len(one.layers) and other.layers[: len(one.layers)] == one.layers


def last_used(hosts: Iterable[Host]) -> dict[tuple[str, str], float]:
    """When a thing was last used on any host."""
    found: dict[tuple[str, str], float] = {}
    for host in hosts:
        for thing in host.things:
            key = (thing.kind, thing.key)
            found[key] = max(found.get(key, 0.0), thing.last_used)
    return found


def kept(hosts: Sequence[Host], members: Mapping[str, Mapping[str, Any]], keep: Sequence[str]) -> Reasons:
    """Why things stay on all hosts, whoever names them."""
    found: Reasons = {}
    for host in hosts:
        for thing in host.things:
            reasons = found.setdefault((thing.kind, thing.key), [])
            _add(reasons, *(f"{who} needs it" for who in _users(thing, members)))
            if thing.busy:
                _add(reasons, f"a download or a copy of it runs on {host.name}")
            if any(_is(thing, word) for word in keep):
                _add(reasons, PINNED)
    _keep_bases(hosts, found)
    return {key: reasons for key, reasons in found.items() if reasons}


def _users(thing: Thing, members: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Who needs a thing, on any host. A service may name an image by its tag and its digest at once."""
    for name, told in members.items():
        for word, who in told["needed"]["models" if thing.kind == MODEL else "images"].items():
            if _is(thing, word) or _is(thing, word.partition("@")[0]):
                yield from (f"{one} on {name}" for one in who)


def _served(hosts: Sequence[Host], served: Mapping[str, str]) -> Reasons:
    """What the inventory says is to be served."""
    return {
        (thing.kind, thing.key): [f"the inventory names it ({variable})"]
        for host in hosts
        for thing in host.things
        for word, variable in served.items()
        if _is(thing, word)
    }


def _merged(one: Reasons, other: Reasons) -> Reasons:
    return {key: [*one.get(key, []), *other.get(key, [])] for key in {**one, **other}}


def _add(reasons: list[str], *more: str) -> None:
    reasons += [one for one in more if one not in reasons]


def _keep_bases(hosts: Sequence[Host], found: Reasons) -> None:
    """What a kept image was built from stays: its layers do in any case, and the next build takes it."""
    for host in hosts:
        images = [thing for thing in host.things if thing.kind == IMAGE]
        for one in [thing for thing in images if found[IMAGE, thing.key]]:
            for base in images:
                if _is_below(base, one) and base.ours:
                    _add(found[IMAGE, base.key], f"{one.called} was built from it")


def _named(
    hosts: Sequence[Host], asked: Asked, stays: Reasons
) -> tuple[dict[str, list[Thing]], dict[str, list[Thing]]]:
    """By host what is named: things, and of images with further names those names alone.

    :raises PruneError: with each that is not there, or stays, and why.
    """
    problems: list[str] = []
    whole: dict[str, list[Thing]] = {host.name: [] for host in hosts}
    names: dict[str, list[Thing]] = {host.name: [] for host in hosts}
    for kind, wanted in ((MODEL, asked.models), (IMAGE, asked.images)):
        for word in dict.fromkeys(wanted):
            found = [
                (host, thing) for host in hosts for thing in host.things if thing.kind == kind and _is(thing, word)
            ]
            if not found:
                problems.append(f"{word}: no Spark has such {'a model' if kind == MODEL else 'an image'}{_hint(kind)}")
            reasons = dict.fromkeys(reason for _host, thing in found for reason in stays.get((kind, thing.key), ()))
            problems += [f"{word} stays: {'; '.join(reasons)}"] if reasons else []
            for host, thing in found:
                names[host.name].append(thing._replace(names=(word,) if word in thing.names else thing.names))
    if problems:
        raise PruneError(f"{'. '.join(problems)}. {NOTHING}")
    untags: dict[str, list[Thing]] = {}
    for host in hosts:
        for thing in host.things:
            said = {name for one in names[host.name] if one[:2] == thing[:2] for name in one.names}
            going = with_digests(said, thing.names)
            chosen = any(one[:2] == thing[:2] for one in names[host.name])
            if chosen and going == set(thing.names):
                whole[host.name].append(thing)
            elif chosen:
                untags.setdefault(host.name, []).append(thing._replace(names=tuple(sorted(going)), bytes=0))
    return whole, untags


def _is(thing: Thing, word: str) -> bool:
    """Whether a word names a thing, exactly."""
    return word == thing.key or word in thing.names


def _hint(kind: str) -> str:
    return "" if kind == MODEL else " (prune_images takes name:tag, name@sha256:digest, or a whole ID)"


def freed(host: Host, going: Sequence[Thing]) -> dict[int, int]:
    """By file system the bytes that come free: of images those of layers that no other image has.

    Nobody tells the size of a layer. An image that was built on another one has the bytes that it is larger by in the
    layers that it has more; else they are taken as spread evenly.
    """
    found: dict[int, int] = {}
    models = sum(thing.bytes for thing in going if thing.kind == MODEL)
    if models:
        found[host.free(MODEL)["device"]] = models
    chosen = {thing.key for thing in going if thing.kind == IMAGE}
    if chosen:
        images = [thing for thing in host.things if thing.kind == IMAGE]
        sizes = layer_bytes(images)
        left = {layer for one in images if one.key not in chosen for layer in one.layers}
        gone = {layer for one in images if one.key in chosen for layer in one.layers} - left
        device = host.free(IMAGE)["device"]
        found[device] = found.get(device, 0) + int(sum(sizes[layer] for layer in gone))
    return found


def layer_bytes(images: Sequence[Thing]) -> dict[str, float]:
    """The bytes of each layer, as far as the sizes of images tell."""
    sizes: dict[str, float] = {}
    for one in sorted(images, key=lambda image: len(image.layers)):
        new = [layer for layer in dict.fromkeys(one.layers) if layer not in sizes]
        known = sum(sizes[layer] for layer in set(one.layers) if layer in sizes)
        for layer in new:
            sizes[layer] = max(0.0, one.bytes - known) / len(new)
    return sizes


def _to_free(
    host: Host,
    named: Sequence[Thing],
    stays: Reasons,
    ages: Mapping[tuple[str, str], float],
    wanted: float,
) -> tuple[list[Thing], str]:
    """What goes from a host so that as much is free as is wanted, and what is the matter where that cannot be."""
    spaces = {place["device"]: place for place in host.filesystems.values()}
    candidates = [
        thing for thing in host.things if thing.ours and not stays.get((thing.kind, thing.key)) and thing not in named
    ]
    candidates.sort(key=lambda one: (ages[one.kind, one.key], one.kind, -len(one.layers), one.called))

    def lacking(going: Sequence[Thing]) -> set[int]:
        made = freed(host, going)
        return {device for device, place in spaces.items() if place["free_bytes"] + made.get(device, 0) < wanted}

    chosen = [*named, *candidates]
    short = sorted(lacking(chosen))
    if short:
        place, most = spaces[short[0]], freed(host, chosen).get(short[0], 0)
        return chosen, (
            f"{host.name}: {gigabytes(wanted)} are to be free on {place['mount']}, {gigabytes(place['free_bytes'])} "
            f"are, and {gigabytes(most)} can be made free of what this collection brought and nothing needs. Ask for "
            "less, or name what else is to go (prune_models, prune_images)"
        )
    for thing in reversed(candidates):  # what was used last stays where the rest is enough
        without = [one for one in chosen if one is not thing]
        if not lacking(without):
            chosen = without
    return chosen, ""


# --- words -----------------------------------------------------------------------------------------------------------


def _lines(
    hosts: Sequence[Host],
    removes: Mapping[str, Sequence[Thing]],
    untags: Mapping[str, Sequence[Thing]],
    stays: Reasons,
) -> Iterator[str]:
    for host in hosts:
        going, made = removes[host.name], freed(host, removes[host.name])
        spaces = {place["device"]: place for place in host.filesystems.values()}
        rooms = []
        for device, place in spaces.items():
            after = f", about {gigabytes(place['free_bytes'] + made[device])} then" if made.get(device) else ""
            rooms.append(f"{gigabytes(place['free_bytes'])} are free on {place['mount']}{after}")
        yield f"{host.name}: {'; '.join(rooms)}"
        for thing in sorted(going, key=lambda one: (one.last_used, one.called)):
            used = f"last used {_days(host.now - thing.last_used)}" if thing.last_used else "never used since it came"
            yield f"  removes {thing.kind} {thing.called} ({gigabytes(thing.bytes)}, {used})"
        for thing in untags.get(host.name, ()):
            yield f"  removes of an image the name {' and '.join(thing.names)}, and the image stays with its others"
        for thing in host.things:
            reasons = stays.get((thing.kind, thing.key))
            if reasons and thing not in going:
                yield f"  keeps   {thing.kind} {thing.called} ({gigabytes(thing.bytes)}): {'; '.join(reasons)}"


def _days(seconds: float) -> str:
    """How long ago.

    >>> _days(90000), _days(3600), _days(864000)
    ('yesterday', 'today', '10 days ago')
    """
    days = int(seconds // 86400)
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"


def changes(found: Plan) -> dict[str, list[dict[str, Any]]]:
    """By host the changes, each by the name of the task that makes it."""
    return {
        name: [
            {**change(REMOVE[one.kind], f"{one.kind} {' '.join(one.names) or one.key}\n"), "of": one.called}
            for one in [*going, *found.untags.get(name, ())]
        ]
        for name, going in found.removes.items()
    }


def to_remove(found: Plan) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By host what the tasks need to know: the ``models``, and the ``images`` with their names."""
    return {
        name: {
            "models": [{"repo": one.key, "bytes": one.bytes} for one in going if one.kind == MODEL],
            "images": [
                {"id": one.key, "names": list(one.names), "called": one.called}
                for one in [*_children_first(going), *found.untags.get(name, ())]
            ],
        }
        for name, going in found.removes.items()
    }


def _children_first(things: Sequence[Thing]) -> list[Thing]:
    """Images, each before those that it was built from, which Docker would keep as long."""
    return sorted((one for one in things if one.kind == IMAGE), key=lambda one: -len(one.layers))
