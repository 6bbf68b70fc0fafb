"""The paper's two convolutional networks as lists of shapes, and the degrees and weights that sparsity leaves them."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.base.memory import require_layers, require_memory
from sao_cli.base.names import check
from sao_cli.catalog import FORMS, METHODS, SCHEMES
from sao_cli.masks.degrees import (
    Counts,
    check_sizes,
    density_of,
    divisors,
    feasible_degrees,
    layer_counts,
    resolve_degree,
)
from sao_cli.reports.masks import ConvPlan

T = TypeVar("T")
BLOCKS = 5  # of a LipConvNet
LIP_IMAGE = 24  # the paper's crops


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """One convolution of a network on square images: c_in channels of side x side to c_out, by size x size kernels.

    `scheme` says how it treats its stride s. "delta" is an ordinary convolution. "eco" and "soc" fold s x s pixels into
    channels first (space to depth), so that their kernels read c_in s^2 channels of an image of side/s, at stride 1.

    >>> shape = ConvShape(c_out=64, c_in=32, size=3, stride=2, side=24, scheme="soc")
    >>> shape.reads, shape.out_side, shape.weights
    (128, 12, 73728)
    """

    c_out: int
    c_in: int
    size: int
    stride: int
    side: int
    scheme: str

    def __post_init__(self) -> None:
        check("scheme", self.scheme, SCHEMES)

    @property
    def reads(self) -> int:
        """The channels that a kernel reads: c_in, or c_in s^2 where the stride is folded into channels."""
        return self.c_in * self.stride**2 if SCHEMES[self.scheme].circular else self.c_in

    @property
    def out_side(self) -> int:
        """The side of the image that comes out, ceil(side/s)."""
        return -(-self.side // self.stride)

    @property
    def weights(self) -> int:
        """All weights of the dense kernel, c_out times `reads` times size^2, without bias."""
        return self.c_out * self.reads * self.size**2


def cnn_shapes(depth: int, width: int, *, form: str = "cifar10", image: int = 32, channels: int = 3) -> list[ConvShape]:
    """The convolutions of the paper's vanilla CNN, first layer first (SAO, section III-D.1).

    `depth` = N convolutions 3 x 3 with zero padding 1: from `channels` to `width` = W, then W to W; the second and the
    third have stride 2. For "cifar10" an average pooling follows; for "cinic10" and "cifar100" it is "replaced with two
    convolutional layers with stride = 2", W to W: they come beyond the N, our reading. Without biases and classifier
    the N have 9 channels W + 9 (N-1) W d weights at row degree d; d = W where they are dense.

    Raises SaoError for another form, InfeasibleError for sizes below 1, MemoryLimitError for too many layers. O(N).

    >>> shapes = cnn_shapes(32, 32)
    >>> len(shapes), shapes[0].weights, sum(shape.weights for shape in shapes)
    (32, 864, 286560)
    """
    check("form", form, FORMS)
    if depth < 1:
        raise InfeasibleError(f"depth {depth}: a CNN has at least one convolution")
    _check_positive(width=width, image=image, channels=channels)
    check_sizes(width, max(width, channels))
    require_layers(depth, "a network")
    strides = [2 if layer in (2, 3) else 1 for layer in range(1, depth + 1)]
    strides += [] if FORMS[form].pooled else [2, 2]
    sides = itertools.accumulate(strides, lambda side, stride: -(-side // stride), initial=image)
    inputs = [channels] + [width] * (len(strides) - 1)
    return [
        ConvShape(c_out=width, c_in=c_in, size=3, stride=stride, side=side, scheme="delta")
        for c_in, stride, side in zip(inputs, strides, sides, strict=False)
    ]


def lipconvnet_shapes(depth: int, *, image: int = LIP_IMAGE, channels: int = 3, base: int = 32) -> list[ConvShape]:
    """The convolutions of LipConvNet-N, N = `depth`, first layer first (SAO, Table 4, after Yu et al., ICLR 2022).

    Each of its five blocks has N/5 - 1 convolutions at stride 1, which keep the block's channels, and one that
    leads to the next block's: 32, 64, 128, 256, 512 and finally 1024 channels at the paper's `base` = 32; strides 2,
    2, 2, 3 and 1; 3 x 3 kernels, and 1 x 1 in the last block. So sides are 24, 12, 6, 3 and 1. The very first
    convolution reads the image's `channels`, whichever it is. Blocks 1 and 2 are "soc", the others "eco".

    An ECO convolution is orthogonal where its image, strides folded, has a side that 3 divides, or 1: so `image` is 24
    or a multiple of 72. Raises InfeasibleError for others, for a depth that is no multiple of 5, and for sizes
    below 1 or an odd `base`, which MaxMin can't halve; MemoryLimitError for too many layers. O(N).

    >>> [(shape.c_out, shape.reads, shape.side, shape.scheme) for shape in lipconvnet_shapes(5)][:3]
    [(64, 12, 24, 'soc'), (128, 256, 12, 'soc'), (256, 512, 6, 'eco')]
    """
    if depth < BLOCKS or depth % BLOCKS:
        near = max(BLOCKS, BLOCKS * round(depth / BLOCKS))
        raise InfeasibleError(f"depth {depth}: a LipConvNet has {BLOCKS} equal blocks; the nearest depth is {near}")
    _check_positive(base=base, channels=channels)
    if base % 2:
        raise InfeasibleError(f"base {base} is odd; MaxMin halves the channels, so choose {base + 1}")
    if image != LIP_IMAGE and (image < 1 or image % (3 * LIP_IMAGE)):
        raise InfeasibleError(
            f"image {image}: the blocks' strides and ECO's 3 x 3 kernels need a side of {LIP_IMAGE}, or a multiple of "
            f"{3 * LIP_IMAGE}"
        )
    check_sizes(32 * base, 9 * max(32 * base, channels))
    require_layers(depth, "a network")
    return _chained(_lip_layers(depth // BLOCKS - 1, base), image, channels)


def conv_degrees(
    shapes: Sequence[ConvShape],
    *,
    method: str = "sao",
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
) -> list[int | None]:
    """The degree of each convolution's kernel-level mask, None where the layer is dense: the first always is.

    All are dense where neither `d`, `c` nor `sparsity` is given. "delta" layers get resolve_degree's row degree.
    "eco" and "soc" ones have a square SAO mask of the larger number of channels, of which the first c_out rows or the
    first c_in s^2 columns are kept (SAO, section IV-C): its degree, c = d, is any divisor of that number. A degree that
    is not below it leaves the layer dense. The sparsity is 1 - degree/max(c_out, c_in s^2).

    Raises InfeasibleError and SaoError as resolve_degree does, SaoError for a method that a square layer has not.

    >>> conv_degrees(lipconvnet_shapes(5), sparsity=0.875)
    [None, 32, 64, 288, 128]
    """
    target = _checked_target(shapes, method, d, c, sparsity)
    if all(value is None for value in target.values()):
        return [None] * len(shapes)
    return [None, *_of_each(shapes[1:], lambda shape: _degree(shape, method, **target))]


def _checked_target(
    shapes: Sequence[ConvShape], method: str, d: int | None, c: int | None, sparsity: float | None
) -> dict[str, Any]:
    """The target, where it is one, as no layer would check it where the first is the only one."""
    target = {"d": d, "c": c, "sparsity": sparsity}
    if sum(value is not None for value in target.values()) > 1:
        raise SaoError("d, c and sparsity each fix the density; give one of them")
    if method != "sao" and any(shape.scheme != "delta" for shape in shapes):
        raise SaoError(f"ECO and SOC layers have SAO masks, not {method!r}; leave the method out")
    if sparsity is not None:
        density_of(sparsity)
    return target


def plan_convolutions(
    shapes: Sequence[ConvShape],
    *,
    method: str = "sao",
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
) -> list[ConvPlan]:
    """One ConvPlan a convolution, with the counts of masks.degrees.layer_counts, or, "eco" and "soc", the degrees of
    conv_degrees; by no target, of the dense network.

    Weights are counted as the kernels hold them, kept kernels times size^2. A layer that stays orthogonal in training
    has fewer free parameters: an ECO kernel's slices are orthogonal and shared between conjugate frequencies, and
    an SOC layer's kernel is skew.

    >>> sum(row.parameters for row in plan_convolutions(cnn_shapes(32, 32), d=4))
    36576
    """
    check("method", method, METHODS)
    if METHODS[method].drawn:
        raise SaoError(
            f"how many kernels {method} keeps of a layer depends on its values; prune a network, or plan another method"
        )
    target = _checked_target(shapes, method, d, c, sparsity)
    dense = all(value is None for value in target.values())
    kept = [
        _all(shapes[0]),
        *_of_each(shapes[1:], lambda shape: _all(shape) if dense else _counts(shape, method, target)),
    ]
    feasible = _of_each(shapes, lambda shape: _feasible(shape, method))
    return [_plan(layer, *row) for layer, row in enumerate(zip(shapes, kept, feasible, strict=True), 1)]


def _all(shape: ConvShape) -> Counts:
    return Counts(shape.c_out, shape.reads, shape.c_out * shape.reads)


def _counts(shape: ConvShape, method: str, target: dict[str, Any]) -> Counts:
    m, n = shape.c_out, shape.reads
    if not SCHEMES[shape.scheme].circular:
        return layer_counts(m, n, method, **target)
    if (degree := _degree(shape, method, **target)) is None:
        return _all(shape)
    # rows or columns of a square mask: the other side's degrees vary
    return Counts(degree if m >= n else None, degree if m <= n else None, min(m, n) * degree)


def _plan(layer: int, shape: ConvShape, kept: Counts, feasible: tuple[int, ...]) -> ConvPlan:
    m, n = shape.c_out, shape.reads
    return ConvPlan(
        layer=layer,
        m=m,
        n=n,
        c=kept.c,
        d=kept.d,
        sparsity=1.0 - kept.nnz / (m * n),
        parameters=kept.nnz * shape.size**2,
        feasible=feasible,
        kernel=(shape.size, shape.size),
        stride=(shape.stride, shape.stride),
        side=shape.side,
        scheme=shape.scheme,
    )


def _of_each(shapes: Sequence[ConvShape], compute: Callable[[ConvShape], T]) -> list[T]:
    """compute(shape) of each, once for all of the same channels and scheme: a network repeats few of them often."""
    keys = [(shape.c_out, shape.reads, shape.scheme) for shape in shapes]
    known = {key: compute(shape) for key, shape in dict(zip(keys, shapes, strict=True)).items()}
    return [known[key] for key in keys]


def _degree(shape: ConvShape, method: str, d: int | None, c: int | None, sparsity: float | None) -> int | None:
    if not SCHEMES[shape.scheme].circular:
        return resolve_degree(shape.c_out, shape.c_in, method, d=d, c=c, sparsity=sparsity)
    side = max(shape.c_out, shape.reads)
    wanted = c if d is None else d
    if wanted is not None and wanted >= side:
        return None
    degree = resolve_degree(side, side, d=wanted, sparsity=sparsity)
    return None if degree == side else degree


def _feasible(shape: ConvShape, method: str) -> tuple[int, ...]:
    if SCHEMES[shape.scheme].circular:
        return tuple(divisors(max(shape.c_out, shape.reads)))
    feasible = feasible_degrees(shape.c_out, shape.c_in, method)
    require_memory(100 * len(feasible), f"the list of {len(feasible)} feasible degrees")
    return tuple(feasible)


def _lip_layers(repeats: int, base: int) -> list[tuple[int, int, int, str]]:
    """(c_out, size, stride, scheme) of every convolution of LipConvNet, the paper's Table 4."""
    layers = []
    for block, stride in enumerate((2, 2, 2, 3, 1)):
        width, scheme = base << block, "soc" if block < 2 else "eco"
        size = 1 if block == BLOCKS - 1 else 3
        layers += [(width, size, 1, scheme)] * repeats + [(2 * width, size, stride, scheme)]
    return layers


def _chained(layers: list[tuple[int, int, int, str]], side: int, c_in: int) -> list[ConvShape]:
    """The shapes of layers of which each reads what the one before it leaves."""
    shapes = []
    for c_out, size, stride, scheme in layers:
        shapes.append(ConvShape(c_out=c_out, c_in=c_in, size=size, stride=stride, side=side, scheme=scheme))
        side, c_in = shapes[-1].out_side, c_out
    return shapes


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InfeasibleError(f"{name} {size}: sizes of a network are at least 1")
