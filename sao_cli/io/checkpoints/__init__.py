"""Checkpoints of networks: every tensor listed with what it is, read one at a time; and written as safetensors."""

from typing import TYPE_CHECKING

from sao_cli.lazy import lazy_names

if TYPE_CHECKING:
    from sao_cli.io.checkpoints.checkpoint import Checkpoint, open_checkpoint
    from sao_cli.io.checkpoints.entries import Entry
    from sao_cli.io.checkpoints.writing import Lazy, write_checkpoint

__all__ = ["Checkpoint", "Entry", "Lazy", "open_checkpoint", "write_checkpoint"]

__getattr__ = lazy_names(
    __name__,
    {
        "Checkpoint": "sao_cli.io.checkpoints.checkpoint",
        "Entry": "sao_cli.io.checkpoints.entries",
        "Lazy": "sao_cli.io.checkpoints.writing",
        "open_checkpoint": "sao_cli.io.checkpoints.checkpoint",
        "write_checkpoint": "sao_cli.io.checkpoints.writing",
    },
)
