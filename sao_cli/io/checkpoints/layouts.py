"""How the axes of a stored weight are those of a layer: which are its outputs, and in which groups channels are."""

from __future__ import annotations

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.data.kernel import swapped_channels
from sao_cli.io.checkpoints.entries import LORA, Entry
from sao_cli.io.checkpoints.order import natural
from sao_cli.io.output import shown

ROWS, COLUMNS = "(out, in)", "(in, out)"
ONE_GROUP = "1 group"
KINDS = ("matrix", "kernel")


@dataclass(frozen=True)
class Layout:
    """Of a stored weight (out, in/groups, ...), or (in, out/groups, ...) where it is `transposed`.

    `groups` is None where the file does not tell them, for the `reason`. `assumed` is what is taken for granted.
    """

    transposed: bool = False
    groups: int | None = 1
    assumed: tuple[str, ...] = ()
    reason: str | None = None

    def outputs_first(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The stored array as (out, in/groups, ...); and (out, in/groups, ...) as it is stored."""
        return swapped_channels(stored, self.groups or 1) if self.transposed else stored

    def shape(self, stored: Sequence[int]) -> tuple[int, ...]:
        """The shape (out, in/groups, ...) of a stored one."""
        if not self.transposed:
            return tuple(stored)
        groups = self.groups or 1
        return (stored[1] * groups, stored[0] // groups, *stored[2:])

    def sides(self, stored: Sequence[int]) -> tuple[int, int | None]:
        """(m, n): outputs and inputs, n None where it is not known."""
        m, n = self.shape(stored)[:2]
        return m, None if self.groups is None else n * self.groups


@dataclass(frozen=True)
class Said:
    """What the user says of weights by patterns of their names: groups of kernels, and which are transposed."""

    groups: tuple[tuple[str, int], ...] = ()
    transposed: tuple[str, ...] = ()

    def groups_of(self, name: str) -> int | None:
        """The groups that the last pattern says; None where none does."""
        return next((g for pattern, g in reversed(self.groups) if fnmatch.fnmatchcase(name, pattern)), None)

    def is_transposed(self, name: str) -> bool:
        """Whether a pattern says so."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.transposed)


def layouts_of(entries: Sequence[Entry], *, said: Said | None = None, as_registered: bool = False) -> dict[str, Layout]:
    """The Layout of each weight among `entries`, by name; a checkpoint's entries, all of them, in the file's order.

    Matrices: a bias as long as one side alone tells which are the outputs; a square one with a bias is as those are
    of which it is told, if they agree; all others are assumed to be (out, in). Kernels (c_0, c_1, ...): with a bias
    of c_1, or of g c_1, numbers, and not of c_0, they are transposed, of g groups. One input channel a kernel, more
    than one tap, a layer before it, and c_0 numbers in a tensor of 1 axis beside it are those of a depthwise
    convolution. One group is assumed where some kernel gives c_1 channels, for the first kernel of which a layer
    reads the c_0, and for the only one, unless what follows one without bias has c_1 numbers and not c_0. Of other
    kernels the groups are not known. `said` goes before all that. `as_registered` says that the order of `entries` is
    that in which a module registers its tensors (torch's files), so that neighbours stand side by side.

    Raises SaoError for a pattern that matches nothing and for groups that do not divide. O(tensors + weights^2).
    """
    return _Reading(entries, said or Said(), as_registered).layouts()


class _Reading:
    def __init__(self, entries: Sequence[Entry], said: Said, as_registered: bool) -> None:
        self.said, self.as_registered = said, as_registered
        ordered = entries if as_registered else sorted(entries, key=lambda entry: natural(entry.name))
        self.ordered = list(ordered)
        self.weights = [entry for entry in self.ordered if entry.kind != "skipped" or entry.unread in KINDS]
        self.kernels = [entry for entry in self.weights if len(entry.shape) > 2]
        self.vectors = {entry.name: entry.shape[0] for entry in entries if len(entry.shape) == 1}
        self.found: dict[str, Layout] = {}

    def layouts(self) -> dict[str, Layout]:
        _require_matches(self.said, self.weights)
        matrices = [entry for entry in self.weights if len(entry.shape) == 2]
        pending = [entry for entry in matrices if not self._decide(entry)]
        decided = {self.found[entry.name].transposed for entry in matrices if self._is_decided(entry)}
        for entry in pending:  # square ones, with a bias
            told = len(decided) == 1
            self.found[entry.name] = Layout(decided == {True}, assumed=() if told else (ROWS,))
        unknown = [entry for entry in self.kernels if not self._decide_kernel(entry)]
        self.sides = [self.found.get(one.name, Layout()).sides(one.shape) for one in self.weights]
        self.given = Counter(m for one, (m, _) in zip(self.weights, self.sides, strict=True) if len(one.shape) > 2)
        alike = {_form(entry) for entry in unknown if self._is_depthwise(entry)}
        for entry in unknown:
            self.found[entry.name] = self._by_neighbours(entry, _is_narrow(entry) and _form(entry) in alike)
        return {entry.name: self.found[entry.name] for entry in self.weights}

    def _is_decided(self, entry: Entry) -> bool:
        return entry.name in self.found and not self.found[entry.name].assumed and not self._is_said(entry)

    def _is_said(self, entry: Entry) -> bool:
        return self.said.is_transposed(entry.name)

    def _decide(self, entry: Entry) -> bool:
        """Find the layout of a matrix; False for a square one with a bias."""
        m, n = entry.shape
        bias = self._bias(entry)
        assumed: tuple[str, ...] = ()
        if self._is_said(entry):
            self.found[entry.name] = Layout(transposed=True)
            return True
        if entry.form in ("blocks", "two_stage", "factored", LORA) or (bias == m and m != n):
            pass
        elif bias == n and m != n:
            self.found[entry.name] = Layout(transposed=True)
            return True
        elif bias == m:
            return False
        else:
            assumed = (ROWS,)
        self.found[entry.name] = Layout(assumed=assumed)
        return True

    def _decide_kernel(self, entry: Entry) -> bool:
        """Find the layout of a kernel by what is said and by its bias; False where its groups are not told so."""
        first, second = entry.shape[:2]
        bias, groups = self._bias(entry), self.said.groups_of(entry.name)
        by_bias = bias // second if bias and not bias % second and not first % (bias // second) else 0
        transposed = self._is_said(entry) or (by_bias and bias != first)
        if groups is not None and first % groups:
            near = ", ".join(str(g) for g in range(1, first + 1) if first % g == 0)
            raise SaoError(f"--groups: {groups} groups for {first} channels of {shown(entry.name)}; divisors: {near}")
        if transposed:
            assumed = () if groups or by_bias else (ONE_GROUP,)
            self.found[entry.name] = Layout(True, groups or by_bias or 1, assumed)
        elif entry.form == "blocks":
            self.found[entry.name] = Layout()
        elif groups is not None or first == 1:
            self.found[entry.name] = Layout(False, groups or 1, self._rows(entry))
        else:
            return False
        return True

    def _by_neighbours(self, entry: Entry, is_alike: bool) -> Layout:
        """The layout of a kernel whose bias does not tell it; `is_alike`: one like it is depthwise."""
        first, second = entry.shape[:2]
        rows = self._rows(entry)
        if is_alike and first in self._beside(entry):
            return Layout(False, first, rows)
        fits = entry is self.kernels[0] and self._is_read(entry)
        if not _is_narrow(entry):
            fits = fits or len(self.kernels) == 1 or self.given[second] > (first == second)
        if fits and not is_alike and not self._may_be_transposed(entry):
            return Layout(False, 1, (*rows, ONE_GROUP))
        channels = "1 channel" if second == 1 else f"{second} channels"
        way_out = f"--groups '{shown(entry.name)}=G' tells, or --transpose where it is a transposed one"
        return Layout(False, None, rows, f"the file does not tell the groups of a kernel of {channels} each; {way_out}")

    def _rows(self, entry: Entry) -> tuple[str, ...]:
        """What is assumed of a kernel that is taken for no transposed one: nothing where its bias tells."""
        return () if self._bias(entry) == entry.shape[0] != entry.shape[1] else (ROWS,)

    def _bias(self, entry: Entry) -> int | None:
        path, dot, last = entry.name.rpartition(".")
        last = "bias" if last == "kernel" else last.replace("weight", "bias")
        return self.vectors.get(f"{path}{dot}{last}")

    def _may_be_transposed(self, entry: Entry) -> bool:
        """Whether what follows a kernel without bias, as a norm does, has its c_1 channels and not its c_0."""
        if self._bias(entry) is not None or not (self.as_registered or _is_numbered(entry)):
            return False
        after = set(self._around(entry, after_alone=True))
        return entry.shape[1] in after and entry.shape[0] not in after

    def _is_depthwise(self, entry: Entry) -> bool:
        return _is_narrow(entry) and self._has_earlier(entry) and entry.shape[0] in self._beside(entry)

    def _has_earlier(self, entry: Entry) -> bool:
        """Whether a layer comes before it: by the order, or one that gives its channels and is fed by none itself."""
        if entry is not (self.weights if self.as_registered else self.kernels)[0]:
            return True
        m = entry.shape[0]
        return any(one.shape[0] == m and one.shape[1] > 1 and not self.given[one.shape[1]] for one in self.kernels)

    def _is_read(self, entry: Entry) -> bool:
        """Whether another layer reads as many channels as `entry` gives, or their images."""
        m = entry.shape[0]
        return any(
            one is not entry and n is not None and (n == m or (len(one.shape) == 2 and n % m == 0))
            for one, (_, n) in zip(self.weights, self.sides, strict=True)
        )

    def _around(self, entry: Entry, after_alone: bool = False) -> Iterator[int]:
        """The lengths of the tensors of 1 axis between a weight and those before and after it."""
        place = self.ordered.index(entry)
        for side in (self.ordered[place + 1 :], [] if after_alone else self.ordered[:place][::-1]):
            for one in side:
                if len(one.shape) > 1:
                    break
                yield from one.shape

    def _beside(self, entry: Entry) -> Iterator[int]:
        """The lengths of the tensors of 1 axis beside `entry`: those around it, or else under the same parent."""
        if self.as_registered:
            yield from self._around(entry)
            return
        module = entry.name.rpartition(".")[0]
        parent = module.rpartition(".")[0]
        depth = entry.name.count(".")
        for name, length in self.vectors.items():
            if name.startswith(f"{parent}." if parent else "") and name.count(".") <= depth:
                yield length


def _is_numbered(entry: Entry) -> bool:
    """Whether a number in a Sequential is its module's name, so that the next number is what follows it."""
    return entry.name.split(".")[-2:][0].isdecimal()


def _is_narrow(entry: Entry) -> bool:
    """Whether a kernel has one channel, and more than one tap."""
    return entry.shape[1] == 1 and math.prod(entry.shape[2:]) > 1


def _form(entry: Entry) -> str:
    """What the kernels at one place of repeated blocks have in common: the name without its numbers."""
    return re.sub(r"\d+", "", entry.name)


def _require_matches(said: Said, weights: Sequence[Entry]) -> None:
    for option, patterns, axes in (
        ("--groups", [pattern for pattern, _ in said.groups], range(3, 6)),
        ("--transpose", said.transposed, range(2, 6)),
    ):
        names = [entry.name for entry in weights if len(entry.shape) in axes]
        what = "kernels" if option == "--groups" else "weights"
        for pattern in patterns:
            if any(fnmatch.fnmatchcase(name, pattern) for name in names):
                continue
            if not names:
                raise SaoError(f"{option} {pattern!r}: there are no {what}")
            raise SaoError(f"{option}: " + unknown_name("no name matches", pattern, map(shown, names[:20])))
