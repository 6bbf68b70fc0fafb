"""Time and peak memory against size, each size in a process of its own, and the exponents.

python tests/benchmarks/bench_growth.py                 all jobs (some ten minutes of one core)
python tests/benchmarks/bench_growth.py --only verify   those whose name has that
python tests/benchmarks/bench_growth.py --long          the sizes that take minutes each

Times are of one thread of a core, medians of five where they are below a fifth of a second, after one run at the least
size for what is loaded at first use. The peak is the whole process's: Python and numpy are some 30 MB of it, torch 200.
The input is made before, and counts for memory alone.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

MEASURED = (
    """
import statistics, time
{setup}
{make}
made(LEAST)()
again = made(SIZE)
times = []
while len(times) < 5 and sum(times) < 1:
    start = time.process_time()
    again()
    times.append(time.process_time() - start)
print("seconds", statistics.median(times))
"""
    + bench.PEAK
)

NOTES = """
Where sizes grow fourfold, the last decade has the two largest alone. Fixed costs flatten the small sizes, and what
Python and the libraries hold the exponents of memory. Random masks of a few thousand rows are certified by a
factorisation, which takes more than the iteration at ten times the size; the spectral density of a small one is run to
its end, too. From 1e5 rows on verification of random masks grows faster than their rows: steps grow as the cube root
of n, as the edge of the spectrum fills, and vectors leave the caches. A dense spectrum, an audit and a Jacobian's
width are cubic where the matrix products are what takes the time.
"""


class Job(NamedTuple):
    """What is measured: imports, `made(n)`, which gives a call without arguments, the sizes, and a goal for time."""

    name: str
    size: str
    setup: str
    make: str
    sizes: Sequence[int]
    long: Sequence[int] = ()
    goal: float | None = None


DECADES = (1_000, 10_000, 100_000, 1_000_000)
SQUARES = (64, 256, 1024, 4096)
FRESH = """
def fresh(mask):  # the same arrays without what has been worked out from them
    return Mask(mask.indptr, mask.indices, mask.shape)
"""
VERIFY = f"""
from sao_cli import Mask
from sao_cli.masks.biregular import biregular_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.measure.graph.expansion import expansion
{FRESH}
def made_of(mask):
    return lambda: expansion(fresh(mask))
"""
REACH = f"""
from sao_cli import Mask
from sao_cli.masks.biregular import biregular_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.measure.reach.reachability import reachability
{FRESH}
def made_of(kind, n):
    masks = [kind(n, n, 4, layer=layer) for layer in range(10)]
    return lambda: reachability([fresh(mask) for mask in masks])
"""
SPECTRUM = f"""
import numpy as np
import scipy.fft
from sao_cli import Mask, Matrix
from sao_cli.masks.biregular import biregular_mask
from sao_cli.measure.values.density import spectral_density
from sao_cli.measure.values.singular_values import singular_values
from sao_cli.weights.orthogonal import sao_weight
{FRESH}
def made_of(weight, measure=singular_values):
    return lambda: measure(Matrix(fresh(weight.mask), weight.values))
"""
FILES = """
import pathlib, tempfile
import numpy as np
from sao_cli import audit_checkpoint, prune_checkpoint
from sao_cli.io.checkpoints import write_checkpoint
folder = tempfile.TemporaryDirectory()
def file_of(shapes):
    rng, path = np.random.default_rng(0), pathlib.Path(folder.name, f"{len(shapes)}.safetensors")
    write_checkpoint({f"{k}.weight": rng.normal(size=one).astype(np.float32) for k, one in enumerate(shapes)}, path)
    return path
"""
NETWORK = """
import torch
from torch import nn
from sao_cli import Network
torch.set_num_threads(1)
"""
JACOBIAN = """
import numpy as np
from sao_cli import Mask, Matrix
from sao_cli.nets import network_jacobian
from sao_cli.weights.build_weights import weight_stack
def made_of(width, depth):
    stack, x = weight_stack([width] * (depth + 1), d=4, gain=1.1), np.random.default_rng(0).standard_normal(width)
    return lambda: list(network_jacobian(stack, "tanh", depths=[depth], x=x))
"""
TRAIN = """
import torch
from sao_cli.nets import Training, TrainingSettings
from sao_cli.nets.training.data import load_data
torch.set_num_threads(1)
def made_of(width, depth):
    settings = TrainingSettings(width=width, depth=depth, method="sao", d=4, epochs=9, jacobian_at=())
    epochs = iter(Training(settings, load_data(settings), device="cpu").epochs())
    next(epochs)  # what is measured before the first
    return lambda: next(epochs)
"""
BUILD = """
import itertools
from sao_cli import mask_stack
from sao_cli.weights.givens import eoi_weight
from sao_cli.weights.orthogonal import sao_weight
seeds = itertools.count()  # another each time: some take more draws than others
"""
AUDIT = "made = lambda n: (lambda path: lambda: list(audit_checkpoint(path)))(file_of([(n, n)]))"
PRUNE = """
def made(layers):
    path = file_of([(128, 128)] * layers)
    return lambda: list(prune_checkpoint(path, path.with_name("out.safetensors"), sparsity=0.9, skip_ends=False))
"""
FACTS = """
def made(layers):
    module, example = nn.Sequential(*[nn.Linear(64, 64) for _ in range(layers)]), torch.ones(1, 64)
    return lambda: Network.from_module(module, example).summary
"""
DENSE = """
def made(n):
    return made_of(Matrix.from_dense(scipy.fft.dct(np.eye(n), norm="ortho")))
"""
JOBS = (
    Job("verify, SAO mask, d = 4", "n", VERIFY, "made = lambda n: made_of(sao_mask(n, n, 4))", DECADES),
    Job(
        "verify, random biregular mask, d = 4",
        *("n", VERIFY, "made = lambda n: made_of(biregular_mask(n, n, 4, seed=0))"),
        *((300, 3_000, 30_000, 300_000), DECADES, 1.65),
    ),
    Job(
        "reach, 10 SAO masks, d = 4",
        *("n", REACH, "made = lambda n: made_of(sao_mask, n)", (64, 1024, 4096, 16384, 65536), (), 2.15),
    ),
    Job(
        "reach, 10 random biregular masks, d = 4",
        *("n", REACH, "made = lambda n: made_of(biregular_mask, n)", (64, 1024, 4096, 16384, 65536), (), 2.15),
    ),
    Job("spectrum, SAO weight, d = 4", "n", SPECTRUM, "made = lambda n: made_of(sao_weight(n, n, 4))", DECADES),
    Job("spectrum, dense orthogonal weight", "n", SPECTRUM, DENSE, SQUARES),
    Job(
        "spectral density, random biregular mask, d = 4",
        *("n", SPECTRUM, "made = lambda n: made_of(Matrix(biregular_mask(n, n, 4, seed=0)), spectral_density)"),
        *((100, 1_000, 10_000, 100_000), DECADES),
    ),
    Job("audit, one square float32 matrix", "n", FILES, AUDIT, SQUARES),
    Job("prune, a chain of 128 x 128 layers, with facts", "layers", FILES, PRUNE, (1, 10, 100, 1000)),
    Job("network facts, linear layers of 64", "layers", NETWORK, FACTS, (1, 10, 100, 1000)),
    Job(
        "jacobian, SAO chain of width 256",
        *("layers", JACOBIAN, "made = lambda depth: made_of(256, depth)", (1, 10, 100, 1000)),
    ),
    Job(
        "jacobian, SAO chain of 20 layers",
        *("width", JACOBIAN, "made = lambda width: made_of(width, 20)", (16, 64, 256, 1024), (16, 64, 256, 1024, 4096)),
    ),
    Job(
        "train, an epoch of the digits, SAO, width 64",
        *("layers", TRAIN, "made = lambda depth: made_of(64, depth)", (2, 20, 200, 2000)),
    ),
    Job(
        "train, an epoch of the digits, SAO, 4 layers",
        *("width", TRAIN, "made = lambda width: made_of(width, 4)", (16, 64, 256, 1024, 4096)),
    ),
    Job(
        "mask, SAO, d = 4",
        *("n", BUILD, 'made = lambda n: lambda: mask_stack([n, n], method="sao", d=4, seed=next(seeds))', DECADES),
    ),
    Job(
        "mask, random biregular, d = 4",
        *("n", BUILD, 'made = lambda n: lambda: mask_stack([n, n], method="biregular", d=4, seed=next(seeds))'),
        *(DECADES,),
    ),
    Job(
        "mask, certified Ramanujan, d = 4",
        *("n", BUILD, 'made = lambda n: lambda: mask_stack([n, n], method="ramanujan", d=4, seed=next(seeds))'),
        *((16, 256, 1024, 4096),),
    ),
    Job(
        "weights, SAO, 4 entries a row",
        *("n", BUILD, "made = lambda n: lambda: sao_weight(n, n, 4, seed=next(seeds))", DECADES),
    ),
    Job(
        "weights, EOI, 4 entries a row",
        *("n", BUILD, "made = lambda n: lambda: eoi_weight(n, n, 1 - 4 / n, seed=next(seeds))"),
        *((100, 1_000, 10_000, 100_000),),
    ),
)


def measured(job: Job, size: int) -> tuple[int, float, float]:
    """Seconds and peak MB at one size, in a fresh process."""
    code = (
        MEASURED.format(setup=job.setup, make=job.make).replace("LEAST", str(job.sizes[0])).replace("SIZE", str(size))
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    told = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("seconds ", "peak ")))
    return size, float(told["seconds"]), int(told["peak"]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--long", action="store_true")
    asked = parser.parse_args()
    for job in JOBS:
        sizes = job.long if asked.long else job.sizes
        if asked.only in job.name and sizes:
            bench.print_growth(job.name, job.size, (measured(job, size) for size in sizes), job.goal)


if __name__ == "__main__":
    main()
