"""Weights of a checkpoint that are one weight under several names, as an embedding and the head that reads it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.io.checkpoints.entries import Entry
from sao_cli.io.formats.tensor_file import TensorFile

_PIECE = 1 << 20  # numbers looked at once


class Tie(NamedTuple):
    """One weight: `first` of its names, and the others by name, each with the order of the first's axes that it has."""

    first: Entry
    others: Mapping[str, tuple[int, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the first first."""
        return self.first.name, *self.others


def ties_of(file: TensorFile, entries: Iterable[Entry]) -> list[Tie]:
    """The weights among `entries` that have several names, with the names in the order of `entries`.

    Where the file tells of storages (torch's), tensors of one storage are one, its transpose too. Elsewhere those of
    2 axes and more are that have one dtype, one shape and equal bytes, unless they hold no more than two different
    numbers, as zeros, ones, identities and masks do: those are equal for other reasons. A weight that several tensors
    make is one with another if all of its parts are. O(tensors), and reads those that begin with the same bytes.
    """
    groups: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.parts and not entry.unread and (key := _told(file, entry)) is not None:
            groups[key].append(entry)
    found = []
    for group in groups.values():
        for tied in _told_apart(file, group):
            first, *others = sorted(tied, key=lambda entry: entry.kind == "skipped")
            found.append(Tie(first, {one.name: _axes(file, first, one) for one in others}))
    return found


def _told(file: TensorFile, entry: Entry) -> Hashable:
    """What entries that are one have in common, as far as the listing tells; None for what can't be one with others."""
    stored = [file.stored[part] for part in entry.parts]
    if all(one.storage is not None for one in stored):
        return entry.form, *(one.storage[0] for one in stored if one.storage)
    if len(entry.shape) < 2 or 0 in entry.shape:
        return None
    return entry.form, *((one.dtype, one.shape) for one in stored)


def _told_apart(file: TensorFile, group: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The entries of a group that are one: all of them by their storage, or else those of equal bytes."""
    if len(group) > 1 and file.stored[group[0].parts[0]].storage is not None:
        yield list(group)
        return
    for alike in _by(group, lambda entry: tuple(file.head(part) for part in entry.parts)):
        yield from _by(alike, lambda entry: _digest(file, entry))


def _by(group: Sequence[Entry], look: Callable[[Entry], Hashable]) -> list[list[Entry]]:
    """The entries that look the same, where there are several; those that can't be read or tell nothing apart."""
    if len(group) < 2:
        return []
    alike: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry in group:
        try:
            key = look(entry)
        except FormatError:
            continue
        if key is not None:
            alike[key].append(entry)
    return [entries for entries in alike.values() if len(entries) > 1]


def _digest(file: TensorFile, entry: Entry) -> Hashable:
    """A digest of all bytes; None where no part has more than two different numbers."""
    told, digest = False, hashlib.blake2b()
    for part in entry.parts:
        flat = np.ascontiguousarray(file.read(part)).reshape(-1)
        digest.update(flat.view(np.uint8).data)
        told = told or _has_three(flat)
    return digest.digest() if told else None


def _has_three(flat: NDArray[Any]) -> bool:
    first, second = flat[0], None
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        other = piece[piece != first]
        if other.size and second is None:
            second = other[0]
        if other.size and (other != second).any():
            return True
    return False


def _axes(file: TensorFile, first: Entry, other: Entry) -> tuple[int, ...]:
    """The order of the first's axes in which `other` has them."""
    one, two = (file.stored[entry.parts[0]].storage for entry in (first, other))
    if first.form != "plain" or one is None or two is None or one[1] == two[1]:
        return tuple(range(len(first.shape)))
    pairs: list[Any] = list(zip(one[1], first.shape, strict=True))
    order = []
    for pair in zip(two[1], other.shape, strict=True):
        order.append(pairs.index(pair))
        pairs[order[-1]] = None  # an axis of one place may have the stride of another
    return tuple(order)
