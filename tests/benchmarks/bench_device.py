"""Every torch path once on one device, with the floors of its arithmetic and its memory traffic beside the times.

python tests/benchmarks/bench_device.py                        on an NVIDIA GPU, under four minutes; where there is none
                                                               it says so, and measures nothing
python tests/benchmarks/bench_device.py --device cpu --small   the same code at small sizes, to see that it runs

The floors are those of this device in this run: the rate of a large matrix product, and that of a large copy.
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets import FNN, SAOConv2d, SAOLinear
from sao_cli.nets.device_solver import DeviceSolver
from sao_cli.nets.jacobians.chain import _Chain, _Layer
from sao_cli.nets.jacobians.module import jacobian_spectrum
from sao_cli.nets.jacobians.operators import layer_blocks
from sao_cli.nets.scores import grasp, snip
from sao_cli.weights.build_weights import weight_stack

DEGREE, GAIN = 4, 1.1
DISTINCT = 16  # layers of a chain, over and over
FLOAT, DOUBLE = torch.float32, torch.float64
COLUMNS = ("job", "seconds", "arithmetic floor, s", "memory floor, s", "times the higher floor")


class Sizes(NamedTuple):
    """What is measured, and how large."""

    matrix: int = 8192  # side of the products and copies that tell the device's rates
    chain: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    depth: int = 1000
    layer: tuple[int, int, int] = (4096, 64, 256)  # width, degree, batch
    image: tuple[int, int, int, int] = (256, 4, 32, 64)  # channels, degree, side, batch
    network: tuple[int, int, int] = (1000, 256, 64)  # layers, width, batch
    module: tuple[int, int] = (50, 1024)  # layers, width
    scored: tuple[int, int, int] = (20, 2048, 4096)  # layers, width, samples
    audited: tuple[int, int] = (4096, 11008)  # sides of two square float32 weights, and of one between them


SMALL = Sizes(64, (16, 32), 20, (64, 8, 4), (8, 4, 4, 2), (4, 16, 4), (3, 16), (2, 16, 8), (8, 16))


class Device:
    """A device, its rates for two dtypes, and how long something takes on it."""

    def __init__(self, name: str, side: int) -> None:
        self.name = name
        self.rates = {dtype: self._rate(side, dtype) for dtype in (FLOAT, DOUBLE)}
        source = torch.ones(side, side, dtype=DOUBLE, device=name)
        target = torch.empty_like(source)
        self.bandwidth = 2 * source.nbytes / self.seconds(lambda: target.copy_(source))

    def _rate(self, side: int, dtype: torch.dtype) -> float:
        a = torch.ones(side, side, dtype=dtype, device=self.name)
        return 2 * side**3 / self.seconds(lambda: a @ a)

    def seconds(self, call: Callable[[], object], repeats: int = 5) -> float:
        """The median wall time until the device has done `call`, after one that is not counted."""
        times = []
        for _ in range(repeats + 1):
            start = self._now()
            call()
            times.append(self._now() - start)
        return statistics.median(times[1:])

    def _now(self) -> float:
        if self.name != "cpu":
            torch.cuda.synchronize(self.name)
        return time.perf_counter()

    def row(self, job: str, seconds: float, dtype: torch.dtype, multiplications: float, moved: float) -> list[Any]:
        """A line of the table; `moved` counts the numbers that must be read or written once."""
        arithmetic = 2 * multiplications / self.rates[dtype]
        memory = moved * dtype.itemsize / self.bandwidth
        return [job, seconds, arithmetic, memory, seconds / max(arithmetic, memory)]


def chain_rows(device: Device, sizes: Sizes) -> Iterator[list[Any]]:
    """The products of a deep network's Jacobian, float64; its orthogonalisations are in the time, the SVD is not."""
    tanh = ActivationFunction("tanh")
    for width in sizes.chain:
        stack = [
            _Layer(weight, layer_blocks(weight), tanh)
            for weight in weight_stack([width] * (DISTINCT + 1), d=DEGREE, gain=GAIN)
        ]
        start = np.random.default_rng(0).standard_normal((1, width))

        def run(stack: list[_Layer] = stack, start: Any = start) -> None:
            layers = [stack[number % DISTINCT] for number in range(sizes.depth)]
            chain = _Chain(layers, start, device.name, "float64", False)
            with chain.threads():
                for _ in layers:
                    chain.step()

        entries = sizes.depth * width**2
        job = f"chain, {sizes.depth} layers of {width}, d = {DEGREE}, float64"
        yield device.row(job, device.seconds(run, 1), DOUBLE, entries * DEGREE, 2 * entries)


def layer_rows(device: Device, sizes: Sizes) -> Iterator[list[Any]]:
    """SAOLinear and SAOConv2d, forward, and forward with backward."""
    n, d, batch = sizes.layer
    linear = SAOLinear(n, n, d, device=device.name)
    yield from _both(device, f"SAOLinear, n = {n}, d = {d}, batch {batch}", linear, (batch, n), batch)
    channels, degree, side, images = sizes.image
    conv = SAOConv2d(channels, channels, 3, padding=1, degree=degree, device=device.name)
    shape = (images, channels, side, side)
    job = f"SAOConv2d, c = {channels}, d = {degree}, {side} x {side}, batch {images}"
    yield from _both(device, job, conv, shape, images * side**2)


def _both(device: Device, job: str, layer: nn.Module, shape: tuple[int, ...], places: int) -> Iterator[list[Any]]:
    x = torch.randn(shape, device=device.name, requires_grad=True)
    upstream = torch.randn_like(layer(x))
    multiplications = places * layer.weight.numel()
    moved = sum(parameter.numel() for parameter in layer.parameters()) + x.numel() + upstream.numel()

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    yield device.row(f"{job}, forward", device.seconds(forward), FLOAT, multiplications, moved)
    step = lambda: layer(x).backward(upstream)  # noqa: E731
    yield device.row(f"{job}, forward + backward", device.seconds(step), FLOAT, 3 * multiplications, 3 * moved)


def training_row(device: Device, sizes: Sizes) -> list[Any]:
    """Forward, loss, backward and one step of SGD."""
    depth, width, batch = sizes.network
    model = FNN(depth, (width, width), layers="blocks", degree=DEGREE, gain=GAIN, dense_ends=False).to(device.name)
    x, target = (torch.randn(batch, width, device=device.name) for _ in range(2))
    parameters = list(model.parameters())

    def step() -> None:
        gradients = torch.autograd.grad(nn.functional.mse_loss(model(x), target), parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-1e-3)

    multiplications = 3 * depth * batch * width * DEGREE
    moved = 3 * depth * (width * DEGREE + 2 * batch * width)
    job = f"a training step, {depth} layers of {width}, d = {DEGREE}, batch {batch}"
    return device.row(job, device.seconds(step, 3), FLOAT, multiplications, moved)


def module_row(device: Device, sizes: Sizes) -> list[Any]:
    """The Jacobian of a module row by row in reverse mode, float64, with its SVD, whose arithmetic the floor omits."""
    depth, width = sizes.module
    model = FNN(depth, (width, width), layers="blocks", degree=DEGREE, gain=GAIN, dense_ends=False).to(device.name)
    x = torch.randn(width, device=device.name)
    seconds = device.seconds(lambda: jacobian_spectrum(model, x), 1)
    job = f"Jacobian of a module with its SVD, {depth} layers of {width}, d = {DEGREE}, float64"
    return device.row(job, seconds, DOUBLE, depth * width**2 * DEGREE, 2 * depth * width**2)


def score_rows(device: Device, sizes: Sizes) -> Iterator[list[Any]]:
    """SNIP and GraSP of a dense network: one forward and one backward pass, and a double backward pass for GraSP."""
    layers, width, samples = sizes.scored
    model = nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(width, width), nn.Tanh())])
    model.to(device.name)
    x = torch.randn(samples, width, device=device.name)
    y = torch.randint(width, (samples,), device=device.name)
    weights = layers * width**2
    for name, score, products in (("snip", snip, 3), ("grasp", grasp, 9)):
        seconds = device.seconds(lambda score=score: score(model, [(x, y)]), 2)
        multiplications, moved = products * samples * weights, products * weights
        job = f"{name}, {layers} layers of {width}, {samples} samples"
        yield device.row(job, seconds, FLOAT, multiplications, moved)


def audit_rows(device: Device, sizes: Sizes) -> Iterator[list[Any]]:
    """Singular values of one float32 weight as `sao audit --device` has them: from the Gram matrix, in float64.

    The floor is of the Gram matrix, m n^2 multiplications, and of a reduction to three diagonals, 2/3 n^3.
    """
    small, large = sizes.audited
    rng = np.random.default_rng(0)
    for m, n in ((small, small), (large, small), (large, large)):
        weight = rng.standard_normal((m, n), dtype=np.float32)
        multiplications = m * n**2 + 2 / 3 * n**3
        seconds = device.seconds(lambda weight=weight: DeviceSolver(device.name)(weight), 1)
        yield device.row(f"singular values, {m} x {n}, float32 in float64", seconds, DOUBLE, multiplications, m * n)


def table(device: Device, sizes: Sizes) -> Iterator[list[Any]]:
    yield from layer_rows(device, sizes)
    yield training_row(device, sizes)
    yield module_row(device, sizes)
    yield from score_rows(device, sizes)
    yield from audit_rows(device, sizes)
    yield from chain_rows(device, sizes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", help="torch's name of one")
    parser.add_argument("--small", action="store_true", help="sizes at which only the code is tried")
    asked = parser.parse_args()
    if asked.device != "cpu" and not torch.cuda.is_available():
        print("no device: nothing measured")
        return
    torch.set_num_threads(1)
    sizes = SMALL if asked.small else Sizes()
    device = Device(asked.device, sizes.matrix)
    name = "a CPU" if asked.device == "cpu" else torch.cuda.get_device_name(asked.device)
    for dtype, rate in device.rates.items():
        bench.print_value(f"matrix product, {str(dtype).removeprefix('torch.')}, on {name}", rate / 1e12, "TFLOP/s")
    bench.print_value(f"copy on {name}", device.bandwidth / 1e9, "GB/s")
    bench.print_table(f"On {name}", COLUMNS, table(device, sizes))


if __name__ == "__main__":
    main()
