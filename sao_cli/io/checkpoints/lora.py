"""Pairs X.lora_A.weight (r, n) and X.lora_B.weight (m, r) as PEFT keeps them, or lora_down and lora_up: one product."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sao_cli.data.precision import PRECISIONS
from sao_cli.io.checkpoints.entries import LORA, MATRIX, Entry, with_own_names

# PEFT's X.lora_A.weight, kohya's X.lora_down.weight, and diffusers' X.lora.down.weight or X_lora.down.weight
_NAME = re.compile(r"(?:(.+)[._])?lora(?:_([AB])(?:\.([^.]+))?|[._](down|up))\.weight", re.DOTALL)
_SIDES = {"down": "A", "up": "B"}
_FIRST_ADAPTER = "default"  # PEFT's name of one that has none
_PEFT, _DIFFUSION = ("lora_A", "lora_B"), ("lora_down", "lora_up")
_APART = "it is measured by itself"


class Pairs(NamedTuple):
    """The `entries` with each pair as one, what is `assumed` of it, and the `reasons` of factors that are in none."""

    entries: list[Entry]
    assumed: dict[str, str]
    reasons: dict[str, str]


class _Factor(NamedTuple):
    """lora_A or lora_B, the `side`, of the weight `of` for an `adapter`; `words` are what the file calls A and B."""

    of: str
    side: str
    adapter: str
    words: tuple[str, str]

    @property
    def other(self) -> _Factor:
        return self._replace(side="B" if self.side == "A" else "A")

    @property
    def other_word(self) -> str:
        return self.words[self.side == "A"]

    @property
    def scale(self) -> str:
        """Of an adapter of kohya's the file has it, as X.alpha over r; PEFT's stands in its settings."""
        return f"{self.of}.alpha/r" if self.words != _PEFT and self.of else "lora_alpha/r"

    @property
    def pair(self) -> str:
        """The name of the product."""
        return ".".join(part for part in (self.of, self.adapter) if part) or LORA


def joined_pairs(entries: Sequence[Entry]) -> Pairs:
    """The entries of a checkpoint, in their order, where lora_B lora_A (m, n) is one matrix, X, in the place of lora_A.

    lora_up and lora_down, also X.lora.up and X_lora.up, are the same by kohya's and diffusers' names. Of an adapter
    that has a name, the matrix is X.NAME. The scale lora_alpha/r (of rsLoRA lora_alpha/sqrt(r)) stands in the adapter's
    settings and in no tensor, or in X.alpha: the product is without it. A factor without the other one, or that does
    not fit it, stays what it is, for a reason. O(entries).
    """
    factors = {factor: entry for entry in entries if (factor := _factor(entry)) is not None}
    joined: list[Entry] = []
    assumed: list[str | None] = []
    reasons: dict[str, str] = {}
    for entry in entries:
        factor, pair = _factor(entry), None
        if factor is not None:
            other = factors.get(factor.other)
            if (reason := _why_apart(factor, entry, other)) is not None:
                reasons[entry.name] = f"{reason}; {_APART}"
            elif factor.side == "B":
                continue
            else:
                assert other is not None
                pair = _joined(factor.pair, other, entry)
        joined.append(pair or entry)
        assumed.append(_assumed(factor, entry.shape[0]) if factor and pair else None)
    named = with_own_names(joined)
    return Pairs(named, {one.name: text for one, text in zip(named, assumed, strict=True) if text}, reasons)


def _assumed(factor: _Factor, rank: int) -> str:
    first, second = factor.words
    return f"{second} {first}, rank {rank}, without the scale {factor.scale}"


def _factor(entry: Entry) -> _Factor | None:
    """Which factor a matrix is by its name; None of all else."""
    told = _NAME.fullmatch(entry.name) if entry.kind == MATRIX else None
    if told is None:
        return None
    of, side, adapter, way = told.groups()
    if way:
        return _Factor(of or "", _SIDES[way], "", _DIFFUSION)
    return _Factor(of or "", side, "" if adapter in (None, _FIRST_ADAPTER) else adapter, _PEFT)


def _why_apart(factor: _Factor, entry: Entry, other: Entry | None) -> str | None:
    """Why a factor is not multiplied with the other one."""
    if other is None:
        return f"there is no matrix {factor.other_word} to multiply it with"
    first, second = (other, entry) if factor.side == "A" else (entry, other)
    if first.shape[1] != second.shape[0]:
        down, up = factor.words
        return f"{up} {first.shape} and {down} {second.shape} do not fit"
    plain = all(one.form == "plain" for one in (first, second))
    return None if plain else "a factor is made of several tensors, and is not multiplied with the other one"


def _joined(name: str, left: Entry, right: Entry) -> Entry:
    return replace(
        right,
        name=name,
        shape=(left.shape[0], right.shape[1]),
        dtype=max(left.dtype, right.dtype, key=lambda dtype: PRECISIONS.get(dtype, 0.0)),
        bytes=left.bytes + right.bytes,
        parts=(*left.parts, *right.parts),
        form=LORA,
    )
