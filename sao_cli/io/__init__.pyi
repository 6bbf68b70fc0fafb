"""Streams and files of matrices and kernels: read by content, written by suffix, whole or not at all."""

from sao_cli.io.output import atomic_output as atomic_output
from sao_cli.io.formats.numpy_files import read_inputs as read_inputs
from sao_cli.io.reading import read_masks as read_masks
from sao_cli.io.reading import read_matrices as read_matrices
from sao_cli.io.reading import read_weights as read_weights
from sao_cli.io.writing import suffix_for as suffix_for
from sao_cli.io.writing import write_kernel as write_kernel
from sao_cli.io.writing import write_masks as write_masks
from sao_cli.io.writing import write_matrices as write_matrices
from sao_cli.io.writing import write_weights as write_weights
from sao_cli.data.matrix import Matrix as Matrix
