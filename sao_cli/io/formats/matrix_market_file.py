"""A stack in Matrix Market text as a file of tensors, layer.1, layer.2 ... as other formats name its layers."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sao_cli.data.matrix import Matrix
from sao_cli.io.formats.matrix_market_reader import read_matrix_market
from sao_cli.io.formats.tensor_file import Path, Snapshot, Stored, TensorFile
from sao_cli.io.source import WholeCopy
from sao_cli.io.tensors import tensor_names


class MatrixMarketFile(TensorFile):
    """The matrices of a text, which is read as a whole, since its lines can't be passed over. O(nnz) memory."""

    def __init__(self, place: Path | WholeCopy) -> None:
        snapshot = Snapshot(place)
        self.name, self.metadata = snapshot.name, {}
        with snapshot.opened() as source:
            matrices = read_matrix_market(source)
        self._matrices: dict[str, Matrix] = dict(zip(tensor_names(matrices), matrices, strict=True))
        self.stored = {name: _told(matrix) for name, matrix in self._matrices.items()}

    def read(self, name: str) -> NDArray[Any]:
        """The named matrix, dense; of booleans where it is a mask."""
        return self._matrices[name].to_dense()

    def sparse(self, name: str, where: str) -> Matrix:
        """The named matrix as it was read."""
        return self._matrices[name]

    def origins(self) -> dict[str, dict[str, Any]]:
        """The provenance that the comments tell, by matrix."""
        return {name: dict(matrix.mask.provenance) for name, matrix in self._matrices.items()}


def _told(matrix: Matrix) -> Stored:
    dtype, width = ("bool", 1) if matrix.values is None else (matrix.dtype, matrix.numpy_dtype.itemsize)
    return Stored(matrix.shape, dtype, matrix.mask.m * matrix.mask.n * width)
