"""Matrix Market text of 4e6 ones: written and read, beside scipy.io.

python tests/benchmarks/bench_io.py
"""

import tempfile
from pathlib import Path

import side_by_side

# isort: split
import scipy.io

from sao_cli import read_masks, sao_mask, write_masks

N, DEGREE = 1_000_000, 4


def main() -> None:
    mask = sao_mask(N, N, DEGREE)
    matrix = mask.to_scipy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.mtx"
        write = [lambda: write_masks(mask, path), lambda: scipy.io.mmwrite(path, matrix, field="pattern")]
        side_by_side.print_ratio("write 4e6 ones", *side_by_side.interleaved(write, 3))
        read = [lambda: read_masks(path), lambda: scipy.io.mmread(path)]
        side_by_side.print_ratio("read 4e6 ones", *side_by_side.interleaved(read, 3))


if __name__ == "__main__":
    main()
