"""Matrix streams and files: read by content, written by suffix, whole or not at all."""

from sao_cli.io.files import atomic_output
from sao_cli.io.matrix import Matrix
from sao_cli.io.reading import read_masks, read_matrices
from sao_cli.io.writing import write_masks, write_matrices

__all__ = ["Matrix", "atomic_output", "read_masks", "read_matrices", "write_masks", "write_matrices"]
