"""Checkpoints of networks: every tensor listed with what it is, read one at a time; and written as safetensors."""

from sao_cli.io.checkpoints.checkpoint import Checkpoint as Checkpoint
from sao_cli.io.checkpoints.checkpoint import checkpoint_files as checkpoint_files
from sao_cli.io.checkpoints.checkpoint import open_checkpoint as open_checkpoint
from sao_cli.io.checkpoints.entries import Entry as Entry
from sao_cli.io.checkpoints.saving import Lazy as Lazy
from sao_cli.io.checkpoints.saving import write_checkpoint as write_checkpoint
