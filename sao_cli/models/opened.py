"""The checkpoint that a function of this room is given, by its path or open, and where it writes another one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from sao_cli.base.errors import FileError
from sao_cli.io.checkpoints import Checkpoint, checkpoint_files, open_checkpoint
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import atomic_output, refuse_terminal, shown


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


@contextlib.contextmanager
def aside(out: Path, read_again: bool) -> Iterator[Path]:
    """Where to write what is to be at `out`: there, or aside first where a stream is to be `read_again`."""
    if out != "-" or not read_again:
        yield out
        return
    refuse_terminal("a checkpoint")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.safetensors")
        yield file
        with atomic_output(out) as stream, open(file, "rb") as written:
            shutil.copyfileobj(written, stream)
