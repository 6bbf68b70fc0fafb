"""The checkpoint that a function of this room is given, by its path or open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sao_cli.base.errors import FileError
from sao_cli.io.checkpoints import Checkpoint, checkpoint_files, open_checkpoint
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown


@contextlib.contextmanager
def opened(model: Path | Checkpoint, out: Path | None = None) -> Iterator[Checkpoint]:
    """The open checkpoint; one that is opened here is closed at the end.

    Raises FileError where `out` is a file that `model`, a path, reads.
    """
    if isinstance(model, Checkpoint):
        yield model
        return
    if out is not None and os.path.exists(out):
        for part in checkpoint_files(model):
            if os.path.exists(part) and os.path.samefile(part, out):
                raise FileError(f"{shown(out)} is what {shown(model)} reads; write to another file")
    with open_checkpoint(model) as checkpoint:
        yield checkpoint
