"""The Jacobian of a deep SAO network beside torch.func.jacrev of the masked dense one, and a step of its training.

python tests/benchmarks/bench_jacobian.py                            whole processes, chains, memory (a minute)
python tests/benchmarks/bench_jacobian.py --train                    one step of training, 1000 layers (a minute)
python tests/benchmarks/bench_jacobian.py --cuda --tflops 34 --bandwidth 4000
        depth 1000 on an NVIDIA GPU, whose float64 peak in TFLOP/s and memory's GB/s give the floors; --width N times
        one width alone (at 4096 the final SVD, on the CPU, takes minutes)
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import functools
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli import Mask, Matrix
from sao_cli.nets.jacobians import chain as jacobian
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.nets.jacobians.long_products.graded import GradedProduct
from sao_cli.nets.networks.fnn import FNN
from sao_cli.weights.build_weights import weight_stack

DEGREE, GAIN, ACTIVATION = 4, 1.1, "tanh"
CHAINS = [(256, 1000, 0.12), (1024, 50, 0.04)]  # width, layers, goal
REPEATS = 3
BATCH, DEPTH, WIDTH = 64, 1000, 256
CUDA_WIDTHS = (256, 1024, 4096)
DISTINCT = 16  # layers on the GPU, over and over: a thousand dense ones of width 4096 would take 134 GB
MOST_JACOBIANS, MEMORY_WIDTH = 3, 1024
START_GOAL, START_REPEATS = 0.5, 7

CHAIN = """
import numpy as np
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.jacobians.chain import _Chain, _Layer
from sao_cli.nets.jacobians.operators import layer_blocks
from sao_cli.weights.build_weights import weight_stack
n = {width}
phi = ActivationFunction("{activation}")
stack = [_Layer(weight, layer_blocks(weight), phi) for weight in weight_stack([n] * 13, d=4, gain=1.1)]
def run(layers):
    x = np.random.default_rng(0).standard_normal((1, n))
    chain = _Chain(layers, x, "cpu", "float64", False)
    for _ in layers:
        chain.step()
    chain.product._orthogonalise()
    return chain.product
run(stack[:3]).log_singular_values()
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here, with the libraries' buffers taken (Linux)
"""

NOTES = """
Chains on a processor run on numpy and LAPACK, so that `sao jacobian` loads no torch; what is left of the whole process
is mostly Python, numpy and scipy's linear algebra. At width 256 a layer's gather and small products take about half of
the chain's time when they run alone; the rest is the allocator, which gives each product's memory back and takes it
anew, and the forward pass. Tried without gain: scipy's CSR, as fast, since it needs no gather; buffers that are reused;
the forward pass through many layers before their products; and going through several layers a few columns at a time,
whose groups are too short.
"""


class Clock:
    """Seconds spent in each of some methods, without those that others of them took inside."""

    def __init__(self, *methods: tuple[type, str, str], device: str = "cpu") -> None:
        self.seconds: Counter[str] = Counter()
        self._inside = [0.0]
        self._methods = methods
        self._device = device

    def __enter__(self) -> "Clock":
        self._before = [getattr(owner, name) for owner, name, _ in self._methods]
        for (owner, name, label), method in zip(self._methods, self._before, strict=True):
            setattr(owner, name, self._timed(method, label))
        return self

    def __exit__(self, *_: object) -> None:
        for (owner, name, _label), method in zip(self._methods, self._before, strict=True):
            setattr(owner, name, method)

    def _timed(self, method: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*args: Any, **options: Any) -> Any:
            start = now(self._device)
            self._inside.append(0.0)
            result = method(*args, **options)
            taken = now(self._device) - start
            self.seconds[label] += taken - self._inside.pop()
            self._inside[-1] += taken
            return result

        return timed


def now(device: str) -> float:
    """The time when the device has done what it was told."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def fresh(weight: Matrix) -> Matrix:
    """The same arrays without what has been worked out from them."""
    mask = weight.mask
    return Matrix(Mask(mask.indptr, mask.indices, mask.shape), weight.values)


def chain_seconds(stack: list[Matrix], x: Tensor, device: str = "cpu") -> Counter[str]:
    """Seconds of the parts of one network_jacobian, at its last depth alone, and of the whole."""
    methods = (
        (jacobian._Chain, "step", "operators and forward pass"),
        (GradedProduct, "multiply", "products"),
        (GradedProduct, "_orthogonalise", "orthogonalisations"),
        (GradedProduct, "log_singular_values", "SVD"),
    )
    layers = [fresh(weight) for weight in stack]
    with Clock(*methods, device=device) as clock:
        start = now(device)
        list(network_jacobian(layers, ACTIVATION, depths=[len(stack)], x=x.cpu().numpy(), device=device))
        clock.seconds["whole"] = now(device) - start
    return clock.seconds


def jacrev_seconds(dense: list[Tensor], depth: int, x: Tensor) -> Counter[str]:
    """Seconds of torch.func.jacrev of the network of dense layers, and of svdvals after it."""
    device = str(x.device)

    def network(h: Tensor) -> Tensor:
        for layer in range(depth):
            h = torch.tanh(dense[layer % len(dense)] @ h)
        return h

    start = now(device)
    found = torch.func.jacrev(network)(x)
    middle = now(device)
    torch.linalg.svdvals(found)
    return Counter({"jacrev": middle - start, "whole": now(device) - start})


def medians(runs: list[Counter[str]]) -> dict[str, float]:
    """The median of each time over the runs but the first."""
    return {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}


def compare(
    width: int, depth: int, goal: float | None, device: str = "cpu", distinct: int = DEPTH, repeats: int = REPEATS
) -> None:
    """Both sides in turns, `repeats` times and once before, on a stack of `distinct` layers over and over."""
    layers = min(depth, distinct)
    base = weight_stack([width] * (layers + 1), d=DEGREE, gain=GAIN)
    stack = [base[layer % layers] for layer in range(depth)]
    dense = [torch.from_numpy(weight.to_dense()).to(device) for weight in base]
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(width)).to(device)
    runs = [(chain_seconds(stack, x, device), jacrev_seconds(dense, depth, x)) for _ in range(repeats + 1)]
    ours, theirs = (medians(list(side)) for side in zip(*runs, strict=True))
    told = f"n = {width}, L = {depth}"
    chain = ours["products"] + ours["operators and forward pass"]  # which jacrev has, too
    bench.print_ratio(f"{told}: the chain's products / jacrev", ours["products"], theirs["jacrev"], goal)
    bench.print_ratio(f"{told}: the same with the building of operators and the forward pass", chain, theirs["jacrev"])
    bench.print_ratio(f"{told}: the whole / jacrev + svdvals", ours["whole"], theirs["whole"], 1)
    whole = ours.pop("whole")
    ours["rest"] = whole - sum(ours.values())
    parts = ", ".join(f"{name} {seconds:.3g} s ({seconds / whole:.0%})" for name, seconds in ours.items())
    print(f"  of the whole: {parts}")


def starts() -> None:
    """Whole processes, of which neither compiles anything after its first time."""
    sizes = ["--depth", "50", "--width", "256"]
    ours = [sys.executable, "-m", "sao_cli", "jacobian", *sizes, "--device", "cpu"]
    theirs = [sys.executable, "-c", "import torch"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    calls = [
        functools.partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, env=environment)
        for command in (ours, theirs)
    ]
    told = f"sao jacobian {' '.join(sizes)}, whole process / import torch"
    bench.print_ratio(told, *bench.interleaved(calls, START_REPEATS), START_GOAL)


def memory() -> None:
    """Peaks of fresh processes over that of one which holds the layers and the libraries' buffers, in Jacobians."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "1000000"  # what is freed goes back at once, so that the peak is live memory
    code = CHAIN.format(width=MEMORY_WIDTH, activation=ACTIVATION)
    runs = ("", "run(stack)\n", "run(stack).log_singular_values()\n")
    before, chain, values = (bench.peak_memory_mb(code + run) for run in runs)
    one = 8e-6 * MEMORY_WIDTH**2
    told = f"n = {MEMORY_WIDTH}: peak"
    bench.print_ratio(f"{told} of the chain", (chain - before) / one, MOST_JACOBIANS, 1, unit="Jacobians")
    print(f"  with the final SVD {(values - before) / one:.3g} Jacobians")


def training_step(model: nn.Module) -> Callable[[], object]:
    """Forward, loss, backward and one step of SGD."""
    generator = torch.Generator().manual_seed(0)
    x, target = (torch.randn(BATCH, WIDTH, generator=generator) for _ in range(2))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x), target).backward()
        optimiser.step()

    return step


def dense_network() -> nn.Module:
    """The same sizes without masks, which cost nothing once they are multiplied in."""
    layers = [module for _ in range(DEPTH) for module in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def training() -> None:
    """SAO blocks against torch.nn.utils.prune's masks, and against no masks at all."""
    asked = {"degree": DEGREE, "gain": GAIN, "dense_ends": False}
    models = [FNN(DEPTH, (WIDTH, WIDTH), layers=layers, **asked) for layers in ("blocks", "masked")]
    steps = [training_step(model) for model in (*models, dense_network())]
    ours, masked, dense = bench.interleaved(steps, REPEATS)
    told = f"one step of training, {DEPTH} layers of n = {WIDTH}, d = {DEGREE}, batch {BATCH}"
    bench.print_ratio(f"{told}: SAO blocks / masked nn.Linear", ours, masked)
    bench.print_ratio(f"{told}: SAO blocks / nn.Linear without masks", ours, dense)


def cuda(widths: Sequence[int], tflops: float, bandwidth: float, device: str = "cuda") -> None:
    """Depth 1000 on a GPU. Floors: each product's arithmetic, and its operand read and its result written once."""
    if not torch.cuda.is_available():
        print("no CUDA device: the GPU part is skipped")
        return
    print(f"{torch.cuda.get_device_name(device)}; floors at {tflops:g} TFLOP/s and {bandwidth:g} GB/s")
    for width in widths:
        compare(width, DEPTH, None, device, DISTINCT, repeats=1)
        for name, terms in (("chain", DEGREE), ("jacrev", width)):
            arithmetic = 2 * DEPTH * width**2 * terms / (tflops * 1e12)
            traffic = 16 * DEPTH * width**2 / (bandwidth * 1e9)
            print(f"  floors of the {name}'s products: arithmetic {arithmetic:.3g} s, memory {traffic:.3g} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--width", type=int, action="append")
    parser.add_argument("--tflops", type=float, default=34.0, help="float64, of an H200's vector units unless told")
    parser.add_argument("--bandwidth", type=float, default=4800.0, help="GB/s, of an H200's memory unless told")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.cuda:
        cuda(asked.width or CUDA_WIDTHS, asked.tflops, asked.bandwidth)
    elif asked.train:
        training()
    else:
        starts()
        for width, depth, goal in CHAINS:
            compare(width, depth, goal)
        memory()


if __name__ == "__main__":
    main()
