"""The weights of a stack, first layer first: of a stream or a file of ours, or of a whole checkpoint."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.formats.registry import FORMATS, START
from sao_cli.io.output import shown
from sao_cli.io.reading import read_from, require_matrix
from sao_cli.io.source import Source, WholeCopy, open_source
from sao_cli.io.tensors import ChoiceError, named_tensor, weight_of

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight
    from sao_cli.io.checkpoints import Checkpoint, Entry
    from sao_cli.io.checkpoints.order import Order
    from sao_cli.io.checkpoints.structure import Structure
    from sao_cli.io.formats.tensor_file import Path

AS_NAMED = "as named"  # an order that the user gives
AS_RUN = "as run"  # one that a run of a module tells
_SHORT = 24  # characters of a reason that is a kind


@dataclass(frozen=True, eq=False)
class WeightStack(Sequence["Weight"]):
    """Weights, first layer first; as a sequence the Matrix and Kernel objects themselves, (outputs, inputs, ...).

    `source` is where they come from, as messages name it, `names` those in a checkpoint, empty of a stream and of a
    file of ours, and `groups` of channels of each, None where the file does not tell them. `order` says how it is known
    that they run one after another, "numbered names" with what is then `assumed`, or "as named"; where it is not known,
    `reason` says why. `left_out` counts the other tensors of the checkpoint, by what they are.
    """

    source: str
    weights: Sequence[Weight]
    names: tuple[str, ...] = ()
    groups: tuple[int | None, ...] = ()
    order: str | None = None
    assumed: str | None = None
    reason: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, place: Any) -> Any:
        return self.weights[place]

    def name(self, place: int) -> str | None:
        """The name in the checkpoint of the weight at `place`, from 0; None where it has none."""
        return self.names[place] if self.names else None

    def require_order(self, way_out: str = "name them in the order in which they run") -> None:
        """Raise FormatError, which ends with the `way_out`, where it is not known in which order the weights run."""
        if self.reason is not None:
            raise FormatError(f"{self.source}: its {len(self)} weights are no plain stack: {self.reason}; {way_out}")

    def matrices(self) -> list[Matrix]:
        """The weights, all of which are matrices; FormatError for a kernel."""
        return [require_matrix(weight, self._where(place)) for place, weight in enumerate(self.weights)]

    def masks(self) -> list[Mask]:
        """The mask of each weight by itself: of a kernel (c_out, c_in), with zeros between groups of channels.

        Raises FormatError for a kernel whose groups the file does not tell.
        """
        return [_ungrouped(weight.mask, self.channel_groups(place)) for place, weight in enumerate(self.weights)]

    def chained_masks(self) -> list[Mask]:
        """The masks, each with as many inputs as the one before has outputs.

        A kernel before a matrix that reads its images, flattened channel by channel, has a row for each pixel. Raises
        FormatError, which names both, where sizes do not fit, and as `masks` does.
        """
        masks = self.masks()
        for place in range(len(masks) - 1) if self.names else ():
            before, after = masks[place], masks[place + 1]
            pixels, rest = divmod(after.n, before.m)
            if rest or (pixels > 1 and not (self._is_kernel(place) and not self._is_kernel(place + 1))):
                reads = f"{self.names[place + 1]} reads {after.n} inputs"
                raise FormatError(f"{self.source}: {reads}, and {self.names[place]} before it gives {before.m} outputs")
            masks[place] = _repeated(before, pixels)
        return masks

    def _is_kernel(self, place: int) -> bool:
        return len(self.weights[place].shape) > 2

    def channel_groups(self, place: int) -> int:
        """The groups of channels of the weight at `place`; FormatError where the file does not tell them."""
        groups = self.groups[place] if self.groups else 1
        if groups is None:
            told = "the file does not tell its groups of channels; --exclude leaves it out, --module FILE.py:NAME tells"
            raise FormatError(f"{self._where(place)}: {told}")
        return groups

    def _where(self, place: int) -> str:
        return f"{self.source}: {self.names[place]}" if self.names else self.source


def read_stack(
    source: Path,
    *,
    tensors: str | Sequence[str] = (),
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
) -> WeightStack:
    """The weights in a stream, a file, a folder or a run of `sao train`, first layer first, as a WeightStack.

    What read_weights reads is read as it does it: Matrix Market streams, files of one weight and stacks that we wrote.
    Of other checkpoints (open_checkpoint tells which; "-" is standard input) the weights are those that `include` and
    `exclude`, patterns of names, let through, in the natural order of names; biases, norms and whatever else is no
    weight is left out. Each has its outputs first, masks are multiplied in, and blocks are put together, as
    audit_checkpoint has it. They run one after another where it says so of them; else `reason` says why they may not.
    `tensors` names the weights instead, in the order in which they run.

    Raises FileError and FormatError as read_weights and open_checkpoint do, for a name or a pattern that nothing has,
    and for a weight that can't be read. Memory: all weights, 12 bytes a number that is not zero.

    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({"net.0.weight": np.eye(4), "net.2.weight": np.ones((2, 4))}, "model.safetensors")
    >>> stack = read_stack("model.safetensors")
    >>> stack.names, [weight.shape for weight in stack], stack.assumed
    (('net.0.weight', 'net.2.weight'), [(4, 4), (2, 4)], 'a plain stack')
    """
    tensors, include, exclude = (_texts(given) for given in (tensors, include, exclude))
    if tensors and (include or exclude):
        raise SaoError("--tensor names the weights, and --include and --exclude choose among all; give one of them")
    if source != "-" and os.path.isdir(source):
        return _from_checkpoint(source, tensors, include, exclude)
    with open_source(source) as opened:
        as_it_comes = not include and not exclude and len(tensors) < 2
        if as_it_comes and not tensors and _reads_forwards(opened):
            return WeightStack(opened.name, read_from(opened, None))
        place = source if opened.size is not None else WholeCopy(opened)
        if as_it_comes and not _is_index(opened):
            copy = place.source() if isinstance(place, WholeCopy) else opened
            with suppress(ChoiceError):
                return WeightStack(opened.name, read_from(copy, *tensors or (None,)))
    return _from_checkpoint(place, tensors, include, exclude)


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _reads_forwards(opened: Source) -> bool:
    start = opened.peek(START)
    return any(row.forwards and row.starts and row.starts(start) for row in FORMATS)


def _is_index(opened: Source) -> bool:
    start = opened.peek(START)
    return any(row.starts and row.starts(start) and not row.read for row in FORMATS)


def _from_checkpoint(
    place: Path | WholeCopy, tensors: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...]
) -> WeightStack:
    from sao_cli.io.checkpoints import open_checkpoint
    from sao_cli.io.checkpoints.order import NUMBERED, PLAIN_STACK
    from sao_cli.models.select import Selection

    selection = Selection.of(tuple(map(glob.escape, tensors)) or include, exclude, (), ())
    with open_checkpoint(place) as checkpoint:
        structure = selection.structure(checkpoint)
        entries = structure.chosen(include, exclude)
        chosen = [_named(checkpoint, structure, name) for name in tensors] or _weights(checkpoint, entries)
        names = tuple(entry.name for entry in chosen)
        order, reason = (AS_NAMED, None) if tensors else _order(structure.order, names)
        return WeightStack(
            checkpoint.name,
            [_read(checkpoint, structure, entry) for entry in chosen],
            names,
            tuple(structure.layout(entry).groups for entry in chosen),
            order,
            PLAIN_STACK if order == NUMBERED else None,
            reason,
            {} if tensors else Counter(_kind(entry) for entry in entries if entry.kind == "skipped"),
        )


def _weights(checkpoint: Checkpoint, entries: Sequence[Entry]) -> list[Entry]:
    for entry in entries:
        if entry.unread is not None:
            told = f"{checkpoint.name}: tensor {shown(entry.name)} can't be read: {entry.reason}"
            raise FormatError(f"{told}; --exclude leaves it out")
    weights = [entry for entry in entries if entry.kind != "skipped"]
    if not weights:
        raise FormatError(f"{checkpoint.name}: no matrix and no kernel is among the {len(entries)} tensors asked for")
    return weights


def _named(checkpoint: Checkpoint, structure: Structure, name: str) -> Entry:
    """The weight that is named as a row of an audit has it, or as the file has."""
    found = {part: entry for entry in structure.entries for part in entry.parts if len(entry.parts) == 1}
    found |= {entry.name: entry for entry in structure.entries}
    entry = found[named_tensor({key: one.shape for key, one in found.items()}, name, checkpoint.name)]
    if entry.kind == "skipped":
        raise FormatError(f"{checkpoint.name}: tensor {shown(name)} is no weight that can be read: {entry.reason}")
    return entry


def _read(checkpoint: Checkpoint, structure: Structure, entry: Entry) -> Weight:
    array = structure.layout(entry).outputs_first(checkpoint.read(entry))
    dtype = entry.dtype if entry.dtype in PRECISIONS else None
    return weight_of(array, structure.provenance(entry), f"{checkpoint.name}: {shown(entry.name)}", dtype)


def _order(order: Order, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """How it is known that the named weights run one after another, or why it is not."""
    from sao_cli.io.checkpoints.order import NUMBERED

    if len(names) == 1:
        return None, None
    stack = next((stack for stack in order.stacks if names[0] in stack), ())
    first = stack.index(names[0]) if stack else 0
    if stack[first : first + len(names)] == names:
        return NUMBERED, None
    if (last := names[-1]) in stack:
        between = next(name for name in stack[first : stack.index(last)] if name not in names)
        return None, f"{shown(between)} runs between them, and is left out"
    return None, order.reason or "they are of several stacks"


def _kind(entry: Entry) -> str:
    reason = entry.reason or ""
    return reason if len(reason) <= _SHORT else "other"


def _ungrouped(mask: Mask, groups: int) -> Mask:
    """(m, n) of a mask (m, n / groups), whose rows are in groups that read columns of their own."""
    if groups == 1:
        return mask
    offsets = mask.entry_rows // (mask.m // groups) * mask.n
    return Mask(mask.indptr, mask.indices + offsets, (mask.m, mask.n * groups), mask.provenance)


def _repeated(mask: Mask, times: int) -> Mask:
    """The mask with each row so many times."""
    if times == 1:
        return mask
    return Mask.from_scipy(mask.to_scipy()[np.repeat(np.arange(mask.m), times)], mask.provenance)
