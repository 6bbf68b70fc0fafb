"""`sao criticality`: a whole process against import numpy and its chains, and the chains' seconds.

python tests/benchmarks/bench_criticality.py
"""

import subprocess
import sys
from pathlib import Path

import side_by_side

from sao_cli import edge_of_chaos, sparse_activation, variance_chains

SAO = Path(sys.executable).with_name("sao")
ASKED = "criticality --activation cst --activation-sparsity 0.85 --slope 0.7 --depth 30"
CHAINS = """
from sao_cli import edge_of_chaos, sparse_activation, variance_chains
edge = edge_of_chaos(sparse_activation("cst", activation_sparsity=0.85, slope=0.7))
variance_chains(edge, 1.0, depth={depth}, width=300)
"""


def main() -> None:
    numpy, ours = [sys.executable, "-c", "import numpy"], [SAO, *ASKED.split()]
    chains = [sys.executable, "-c", CHAINS.format(depth=30)]
    pairs = [
        ("sao criticality, whole process, against import numpy", ours, numpy),
        (
            "sao criticality with chains of width 300, against import numpy and these chains",
            [*ours, "--width", "300"],
            chains,
        ),
    ]
    for name, one, other in pairs:
        measured = side_by_side.interleaved([_process(one), _process(other)], repeats=15)
        side_by_side.print_ratio(name, *measured, 3)
    edge = edge_of_chaos(sparse_activation("cst", activation_sparsity=0.85, slope=0.7))
    seconds = side_by_side.median_seconds(lambda: variance_chains(edge, 1.0, depth=100, width=300))
    side_by_side.print_value("400 chains of 100 layers of 300 units", seconds, "s", 1)


def _process(command):
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
