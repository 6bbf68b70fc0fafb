"""Tables 1 to 5 of the SAO paper: sizes, learning rates and the delta-orthogonal kernel, all of them exact."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from sao_cli.masks.architectures import lipconvnet_shapes
from sao_cli.measure.convolution.kernel_spectrum import kernel_spectrum
from sao_cli.measure.values.singular_values import singular_values
from sao_cli.nets.networks.fnn import PAPER_WIDTHS, fnn_widths
from sao_cli.nets.training.paper_rates import paper_rate
from sao_cli.study.papers.cells import EXACT, Asked, Cell, CellGroup
from sao_cli.weights.build_weights import weight_stack
from sao_cli.weights.kernels.delta import delta_kernel

HOME = f"{__name__}:"
TABLE_1 = {"input layer": ("1024", "512"), "downscaling": ("512", "256"), "output layer": ("256", "10")}
TABLE_2 = {60: "0.01", 200: "0.001", 400: "0.001", 600: "0.0001", 800: "0.0001", 1000: "0.0001"}
TABLE_3 = {32: "0.01", 128: "0.001", 256: "0.001", 512: "0.0001", 768: "0.0001"}
TABLE_4 = (  # at N = 10: output channels, side of the kernel, stride and side of the image that comes in
    *(("32", "3", "1", "24"), ("64", "3", "2", "24"), ("64", "3", "1", "12"), ("128", "3", "2", "12")),
    *(("128", "3", "1", "6"), ("256", "3", "2", "6"), ("256", "3", "1", "3"), ("512", "3", "3", "3")),
    *(("512", "1", "1", "1"), ("1024", "1", "1", "1")),
)
KERNEL, CHANNELS, IMAGE = 3, 16, 8  # of a delta-orthogonal kernel; the paper's hold for any


def _exact(label: str, paper: str, key: str = "", unit: str | None = None, evidence: str = "") -> Cell:
    return Cell(label=label, paper=paper, key=key, kind=EXACT, unit=unit, evidence=evidence)


def table1(asked: Asked) -> Iterator[CellGroup]:
    """The widths of the fully-connected network."""
    cells = [
        _exact(f"{layer}: {which}", paper)
        for layer, sizes in TABLE_1.items()
        for which, paper in zip(("inputs", "outputs"), sizes, strict=True)
    ]
    repeats = _exact("N = 50: layers of 256 x 256", "49", "repeats")
    yield CellGroup(cells=(*cells, repeats), function=f"{HOME}fnn_sizes")


def fnn_sizes() -> dict[str, float | None]:
    """The widths of FNN(50), layer by layer."""
    widths = fnn_widths(50, PAPER_WIDTHS)
    layers = list(pairwise(widths))
    named = dict(zip(TABLE_1, (layers[0], layers[1], layers[-1]), strict=True))
    sizes: dict[str, float | None] = {"repeats": layers.count((256, 256))}
    for layer, (n, m) in named.items():
        sizes |= {f"{layer}: inputs": n, f"{layer}: outputs": m}
    return sizes


def table2(asked: Asked) -> Iterator[CellGroup]:
    """The learning rates of fully-connected networks."""
    yield _rates("fnn", TABLE_2)


def table3(asked: Asked) -> Iterator[CellGroup]:
    """The learning rates of CNNs."""
    yield _rates("cnn", TABLE_3)


def _rates(arch: str, table: dict[int, str]) -> CellGroup:
    cells = tuple(_exact(f"N = {depth}", paper) for depth, paper in table.items())
    return CellGroup(cells=cells, function=f"{HOME}rates", keywords={"arch": arch, "depths": list(table)})


def rates(arch: str, depths: list[int]) -> dict[str, float | None]:
    """The rate that training takes where none is told."""
    return {f"N = {depth}": paper_rate(arch, depth) for depth in depths}


def table4(asked: Asked) -> Iterator[CellGroup]:
    """The convolutions of LipConvNet-10, in which each block has each of its layers."""
    names = ("output channels", "kernel", "stride", "image")
    cells = tuple(
        _exact(f"layer {layer}: {name}", paper)
        for layer, row in enumerate(TABLE_4, 1)
        for name, paper in zip(names, row, strict=True)
    )
    yield CellGroup(cells=cells, function=f"{HOME}lipconvnet_sizes")


def lipconvnet_sizes() -> dict[str, float | None]:
    """What lipconvnet_shapes has of each layer."""
    found: dict[str, float | None] = {}
    for layer, shape in enumerate(lipconvnet_shapes(10), 1):
        told = {"output channels": shape.c_out, "kernel": shape.size, "stride": shape.stride, "image": shape.side}
        found |= {f"layer {layer}: {name}": value for name, value in told.items()}
    return found


def table5(asked: Asked) -> Iterator[CellGroup]:
    """What a delta-orthogonal kernel is, and the block for ReLU beside it (Eq. 5)."""
    block = "the least is {relu_least:.2g}: half of them are 0, and the others 2"
    cells = (
        _exact("taps of the kernel that are not 0", "1", "taps"),
        _exact("largest singular value", "1.000000", "largest"),
        _exact("least singular value", "1.000000", "least"),
        _exact("Eq. 5, for ReLU: largest singular value", "1.000000", "relu_largest", evidence=block),
        _exact("Eq. 5, for ReLU: least singular value", "1.000000", "relu_least", evidence=block),
    )
    yield CellGroup(cells=cells, function=f"{HOME}delta_facts")


def delta_facts() -> dict[str, float | None]:
    """Of one delta-orthogonal kernel as a map of images, and of one looks-linear layer as a matrix."""
    kernel = delta_kernel(CHANNELS, CHANNELS, KERNEL)
    found = kernel_spectrum(kernel, IMAGE)
    [block] = weight_stack([CHANNELS, CHANNELS], method="dense", looks_linear=True)
    values = singular_values(block)
    told = {"taps": float(np.any(kernel.to_dense() != 0, axis=(0, 1)).sum()), "largest": found.sigma_max}
    return told | {"least": found.sigma_min, "relu_largest": float(values[0]), "relu_least": float(values[-1])}
