"""A checkpoint with some of its weights changed: every other stored tensor as it is, under its name, in its dtype."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from sao_cli.base.errors import FormatError
from sao_cli.io.checkpoints import Checkpoint
from sao_cli.io.checkpoints.entries import OPTIMISER, Entry, common_prefix
from sao_cli.io.checkpoints.saving import Lazy
from sao_cli.io.formats.safetensors_header import WRITTEN
from sao_cli.io.formats.tensor_file import Stored
from sao_cli.io.output import shown


def changed_tensors(checkpoint: Checkpoint, changes: Mapping[Entry, Lazy]) -> dict[str, Lazy]:
    """All tensors of `checkpoint`, for write_checkpoint, in the file's order, with `changes` in place of its entries.

    The others are not looked at: their numbers stay what they are, infinite ones too, and parts stay parts. A weight
    that several tensors make is one tensor when it was changed; a mask beside a weight stays beside it. What lies
    beside the weights, as an optimizer's state in a torch file, is left out. Raises FormatError for a tensor that
    can't be read, or written as safetensors, since a checkpoint without it would be another network. O(tensors).
    """
    file = checkpoint.file
    names = stored_names(checkpoint, changes)
    first = {entry.parts[0]: entry for entry in changes}
    parts = {part for entry in changes for part in entry.parts if part != entry.masked_by}
    tensors = {}
    for name, stored in file.stored.items():
        if name in first:
            tensors[names[first[name]]] = changes[first[name]]
        elif name not in parts:
            _require_copyable(f"{file.name}: tensor {shown(name)}", stored)
            tensors[name] = Lazy(stored.shape, stored.dtype, partial(file.read, name))
    return tensors


def stored_names(checkpoint: Checkpoint, entries: Collection[Entry]) -> dict[Entry, str]:
    """The name of each entry with the prefix, such as "module.", that all names in the file share. O(tensors)."""
    prefix = common_prefix([name for name in checkpoint.file.stored if not OPTIMISER.match(name)])
    return {entry: prefix + entry.name for entry in entries}


def _require_copyable(where: str, stored: Stored) -> None:
    if stored.problem is not None:
        raise FormatError(f"{where} can't be copied: {stored.problem}")
    if stored.dtype not in WRITTEN:
        raise FormatError(f"{where} of dtype {stored.dtype} can't be written as safetensors; convert it first")
