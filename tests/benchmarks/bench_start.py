"""Start-up and the first pipe, whole processes.

python tests/benchmarks/bench_start.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import side_by_side

SAO = Path(sys.executable).with_name("sao")
WRITE = """
import sys, numpy as np, scipy.io, scipy.sparse as sp
n, d = 256, 4
groups = np.random.default_rng(0).permutation(np.repeat(np.arange(n // d), d))
columns = groups[:, None] + np.arange(d) * (n // d)
mask = sp.csr_array((np.ones(n * d), columns.ravel(), np.arange(0, n * d + 1, d)), shape=(n, n))
scipy.io.mmwrite(sys.stdout.buffer, mask, field="pattern")
"""
READ = """
import json, sys, numpy as np, scipy.io
from scipy.sparse.linalg import svds
mask = scipy.io.mmread(sys.stdin.buffer).tocsr().astype(float)
values = svds(mask, k=2, return_singular_vectors=False, random_state=0)
d, c = mask.sum(1).max(), mask.sum(0).max()
print(json.dumps({"lambda_2": values.min(), "holds": bool(values.min() <= np.sqrt(c - 1) + np.sqrt(d - 1))}))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write, read = Path(folder) / "write.py", Path(folder) / "read.py"
        write.write_text(WRITE)
        read.write_text(READ)
        _compare(write, read)


def _compare(write: Path, read: Path) -> None:
    pairs = [
        (
            "sao mask --m 256 --n 256 --d 4, whole process, against import numpy",
            f"{SAO} mask --m 256 --n 256 --d 4",
            f"{sys.executable} -c 'import numpy'",
            1.6,
        ),
        (
            "sao mask | sao verify, 256, against a scipy script pair",
            f"{SAO} mask --m 256 --n 256 --d 4 | {SAO} verify -q",
            f"{sys.executable} {write} | {sys.executable} {read}",
            0.5,
        ),
    ]
    for name, ours, theirs, goal in pairs:
        measured = side_by_side.interleaved([_shell(ours), _shell(theirs)], repeats=15)
        side_by_side.print_ratio(name, *measured, goal)


def _shell(command):
    return lambda: subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
