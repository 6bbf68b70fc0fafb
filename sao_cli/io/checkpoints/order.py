"""What the names of weights tell of their order: which of them number a plain stack of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from sao_cli.io.output import shown

NUMBERED, PLAIN_STACK = "numbered names", "a plain stack"  # how an order is known, and what is assumed then
WAY_OUT = "--module FILE.py:NAME tells"  # the one place that says how

_NUMBERED = re.compile(r"(|.*\.|arr_)(\d{1,9})(?:\.weight)?")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Za-z][a-z]*")
_APART = {  # words of layers that do not run one after another
    *("q", "k", "v", "qkv", "query", "key", "value", "queries", "keys", "values", "attn", "attention", "proj", "gate"),
    *("gates", "up", "downsample", "shortcut", "skip", "branch", "branches", "mixed", "lstm", "gru", "rnn", "ih", "hh"),
    *("embed", "embedding", "embeddings", "wte", "wpe", "squeeze", "expand", "denselayer", "experts", "heads"),
}
_ENDS = re.compile(r"(?:^|_)w[1-3]$|^lm_head$|lora[._]", re.IGNORECASE)


class Sides(NamedTuple):
    """A layer as the order sees it: `m` outputs and `n` inputs, None where they are not known."""

    name: str
    kind: str
    m: int | None
    n: int | None


@dataclass(frozen=True)
class Order:
    """Layers in the natural order of their names: all `names`, and the `stacks` of them that numbers line up.

    `reason` says why they are not one stack, None where they are, and `why_not` also what would tell.
    """

    names: tuple[str, ...]
    stacks: tuple[tuple[str, ...], ...] = ()
    reason: str | None = None

    @property
    def why_not(self) -> str | None:
        """The reason and the way out."""
        return None if self.reason is None else f"{self.reason}; {WAY_OUT}"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names with their numbers as numbers.

    >>> sorted(["net.10.weight", "net.2.weight"], key=natural)
    ['net.2.weight', 'net.10.weight']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name)]


def order_of(layers: Iterable[Sides]) -> Order:
    """What names and sides tell of the order of `layers`, all of a network's.

    A stack is PREFIX0.weight, PREFIX3.weight, ... (or without ".weight", or numpy.savez's arr_0, arr_1, ...), by
    ascending numbers: all layers whose names begin with PREFIX are such, no word in PREFIX says that they stand side by
    side (as query and key do), and each has as many inputs as the one before has outputs, or a multiple of them where a
    matrix reads the images of a kernel.
    Whether they run one after another is an assumption all the same: a ModuleList of equal square layers looks alike.
    O(layers log layers).
    """
    sides = {layer.name: layer for layer in sorted(layers, key=lambda layer: natural(layer.name))}
    stacks, reasons = [], []
    for prefix, names in _numbered(sides).items():
        if len(names) < 2:
            continue
        reason = _why_apart(prefix, names, sides)
        if reason is None:
            stacks.append(tuple(names))
        else:
            reasons.append(reason)
    reason = None
    if len(sides) > 1 and not (stacks and len(stacks[0]) == len(sides)):
        reason = _why_several(sides, stacks, reasons)
    return Order(tuple(sides), tuple(stacks), reason)


def follows(before: Sides, after: Sides) -> bool:
    """Whether `after` can read what `before` gives; True where it is not known."""
    if before.m is None or after.n is None:
        return True
    return before.m == after.n or (before.kind == "kernel" and after.kind == "matrix" and after.n % before.m == 0)


def _numbered(names: Iterable[str]) -> dict[str, list[str]]:
    """The names PREFIX<int>.weight by their prefix, by ascending numbers."""
    found: dict[str, list[str]] = {}
    for name in names:
        if told := _NUMBERED.fullmatch(name):
            found.setdefault(told[1], []).append(name)
    return found


def _why_apart(prefix: str, names: Sequence[str], sides: Mapping[str, Sides]) -> str | None:
    """Why `names`, which begin with `prefix` and a number, are no stack."""
    inside = next((name for name in sides if name.startswith(prefix) and name not in names), None)
    if inside is not None:
        return f"{shown(inside)} stands among the numbered layers {shown(prefix + '*')}"
    if (word := _apart(prefix)) is not None:
        return f"{word!r} in {shown(prefix + '*')} names layers that may stand side by side"
    for before, after in pairwise(sides[name] for name in names):
        unknown = next((one.name for one in (before, after) if one.n is None and one.m is not None), None)
        if unknown is not None:
            return f"the inputs of {shown(unknown)} are not known"
        if not follows(before, after):
            told = f"{shown(after.name)} has {after.n} inputs, and {shown(before.name)}"
            return f"{told} {before.m} outputs"
    return None


def _apart(prefix: str) -> str | None:
    for part in prefix.rstrip(".").split("."):
        if _ENDS.search(part):
            return part
        for word in _WORD.findall(part):
            if word.lower() in _APART:
                return part
    return None


def _why_several(sides: Mapping[str, Sides], stacks: Sequence[Sequence[str]], reasons: Sequence[str]) -> str:
    if reasons:
        return reasons[0]
    numbered = {name for stack in stacks for name in stack}
    other = next((name for name in sides if name not in numbered), None)
    if other is None:
        return f"the names number {len(stacks)} stacks, and do not tell how they are joined"
    word = _apart(other)
    if word is not None:
        return f"{word!r} in {shown(other)} names a layer that may stand beside others"
    return f"the names do not tell where {shown(other)} runs"
