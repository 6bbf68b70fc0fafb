"""Start-up and the first pipe, whole processes: wall and processor time, and with OPENBLAS_CORETYPE told.

python tests/benchmarks/bench_start.py
"""

import os
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
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


IMPORT = f"{sys.executable} -c 'import numpy'"
JOBS = (  # what is ours, our command, theirs, and the goal
    (
        "sao mask --m 256 --n 256 --d 4, whole process, against import numpy",
        "SAO mask --m 256 --n 256 --d 4",
        IMPORT,
        1.35,
    ),
    ("sao mask --help, whole process, against import numpy", "SAO mask --help", IMPORT, 0.8),
    (
        "completion of an option of sao mask, whole process, against import numpy",
        "_SAO_COMPLETE=bash_complete COMP_WORDS='sao mask --se' COMP_CWORD=2 SAO",
        IMPORT,
        0.8,
    ),
    (
        "sao mask | sao verify, 256, against a scipy script pair",
        "SAO mask --m 256 --n 256 --d 4 | SAO verify -q",
        f"{sys.executable} WRITE | {sys.executable} READ",
        0.32,
    ),
)


NOTES = """
`sao mask` cannot be sooner than numpy, its random generators and click, a quarter more than numpy alone. In the pipe
`sao verify` starts beside `sao mask`, and reads what that one writes when it is done.
"""


def main() -> None:
    module = f"{sys.executable} -m sao_cli"
    kernel = os.environ.get("OPENBLAS_CORETYPE") or (
        "Haswell" if platform.machine() in ("x86_64", "AMD64") else "ARMV8"
    )
    with tempfile.TemporaryDirectory() as folder:
        scripts = {"WRITE": WRITE, "READ": READ}
        for name, script in scripts.items():
            scripts[name] = str(Path(folder) / f"{name}.py")
            Path(scripts[name]).write_text(script)
        for told in (None, kernel):
            os.environ.pop("OPENBLAS_CORETYPE", None)
            if told:
                os.environ["OPENBLAS_CORETYPE"] = told
            _compare({**scripts, "SAO": str(SAO)}, f" (OPENBLAS_CORETYPE={told})" if told else "")
        os.environ.pop("OPENBLAS_CORETYPE")
        _compare({**scripts, "SAO": module}, " (as python -m sao_cli)", JOBS[:1])


def _compare(words: dict[str, str], where: str, jobs: Sequence[tuple[str, str, str, float]] = JOBS) -> None:
    for name, ours, theirs, goal in jobs:
        job, instead = name.split(" against ")
        commands = [_filled(command, words) for command in (ours, theirs)]
        for what, times in zip(("", ", processor time"), side_by_side.command_seconds(commands), strict=True):
            side_by_side.print_ratio(job.rstrip(",") + where + what, *times, goal, instead=instead)


def _filled(command: str, words: dict[str, str]) -> str:
    """The command with what its capitals stand for."""
    for word, meaning in words.items():
        command = re.sub(rf"(?<![_A-Z]){word}(?![_A-Z])", lambda _, meaning=meaning: meaning, command)
    return command


if __name__ == "__main__":
    main()
