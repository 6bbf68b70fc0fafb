"""Streams and files of matrices and kernels: read by content, written by suffix, whole or not at all."""

from typing import TYPE_CHECKING

from sao_cli.lazy import lazy_names

if TYPE_CHECKING:
    from sao_cli.io.files import atomic_output
    from sao_cli.io.numpy_files import read_inputs
    from sao_cli.io.reading import read_masks, read_matrices, read_weights
    from sao_cli.io.writing import suffix_for, write_kernel, write_masks, write_matrices, write_weights
    from sao_cli.matrix import Matrix

__all__ = [
    "Matrix",
    "atomic_output",
    "read_inputs",
    "read_masks",
    "read_matrices",
    "read_weights",
    "suffix_for",
    "write_kernel",
    "write_masks",
    "write_matrices",
    "write_weights",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Matrix": "sao_cli.matrix",
        "atomic_output": "sao_cli.io.files",
        "read_inputs": "sao_cli.io.numpy_files",
        "read_masks": "sao_cli.io.reading",
        "read_matrices": "sao_cli.io.reading",
        "read_weights": "sao_cli.io.reading",
        "suffix_for": "sao_cli.io.writing",
        "write_kernel": "sao_cli.io.writing",
        "write_masks": "sao_cli.io.writing",
        "write_matrices": "sao_cli.io.writing",
        "write_weights": "sao_cli.io.writing",
    },
)
