"""Matrix Market text, with values and without: written and read, beside scipy.io on one thread.

python tests/benchmarks/bench_io.py
"""

import tempfile
from pathlib import Path

import side_by_side

# isort: split
import numpy as np
import scipy.io
from threadpoolctl import threadpool_limits

from sao_cli import Matrix, sao_mask
from sao_cli.io import read_matrices, write_matrices

NOTES = """
Every number is written as the shortest text that reads back as the same float64, and read to the nearest one.
"""


def matrices() -> dict[str, Matrix]:
    """What is written and read, by its name."""
    rng = np.random.default_rng(0)
    sparse = sao_mask(100_000, 100_000, 4)
    return {
        "256 x 256 dense": Matrix.from_dense(rng.standard_normal((256, 256)) / 16),
        "n = 1e5, d = 4": Matrix(sparse, rng.standard_normal(sparse.nnz) / 2),
        "4e6 ones": Matrix(sao_mask(1_000_000, 1_000_000, 4)),
    }


def compare(name: str, matrix: Matrix, folder: Path) -> None:
    """Both writers, then both readers on what each writer wrote."""
    ours, theirs = folder / "ours.mtx", folder / "theirs.mtx"
    repeats = 5 if matrix.mask.nnz > 1_000_000 else 11
    array = matrix.to_scipy()
    field = "pattern" if matrix.values is None else "real"
    write = [lambda: write_matrices(matrix, ours), lambda: scipy.io.mmwrite(theirs, array, field=field)]
    side_by_side.print_ratio(f"write {name} / mmwrite", *side_by_side.interleaved(write, repeats))
    for path, writer in ((ours, "sao"), (theirs, "scipy")):
        read = [lambda path=path: read_matrices(path), lambda path=path: scipy.io.mmread(path, spmatrix=False)]
        side_by_side.print_ratio(f"read {name}, written by {writer} / mmread", *side_by_side.interleaved(read, repeats))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scipy.io.mmwrite(Path(folder) / "first.mtx", np.eye(2))  # loads the threads that are to be limited
        with threadpool_limits(1):
            for name, matrix in matrices().items():
                compare(name, matrix, Path(folder))


if __name__ == "__main__":
    main()
