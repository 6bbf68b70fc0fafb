"""What there is to say of a convolution's singular values, and why they are not all one where that is known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sao_cli.base.errors import FormatError
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import KERNEL_METHODS, SCHEMES
from sao_cli.data.kernel import Kernel, KernelLike
from sao_cli.measure.convolution.geometry import Axis, Geometry, transposed_outputs
from sao_cli.measure.convolution.operator_values import EXACT_COST, checked_kernel, convolution_values
from sao_cli.measure.layer.jacobian import dense_jacobian_values
from sao_cli.measure.values.facts import Comparison, Measured, Reference, mean_degree
from sao_cli.measure.values.singular_values import SingularValues, measured_singular_values
from sao_cli.reports.spectra import KernelSpectrum

Measure = Callable[[Kernel], SingularValues]

ORTHOGONAL = tuple(  # methods that leave a scheme orthogonal
    name for name, row in KERNEL_METHODS.items() if not (row.kept_kernel or row.keeps or row.own_law)
)
EPSILON = 2.0**-52  # of the arithmetic, whatever the kernel was born in
_TURNED = {"m": "n", "n": "m", "c": "d", "d": "c", "image": "output_image", "output_image": "image"}


@dataclass(frozen=True)
class Convolution:
    """A kernel, and how it is applied to images: what kernel_spectrum takes."""

    kernel: Kernel
    image: int | Sequence[int]
    padding: str | int = "circular"
    stride: int | Sequence[int] = 1
    dilation: int | Sequence[int] = 1
    groups: int = 1
    transposed: bool = False

    def spectrum(self, **asked: Any) -> KernelSpectrum:
        """kernel_spectrum of it; `asked` are the options that are not its own."""
        own = {key: value for key, value in vars(self).items() if key != "kernel"}
        return kernel_spectrum(self.kernel, **own, **asked)


def kernel_spectrum(
    kernel: KernelLike,
    image: int | Sequence[int],
    *,
    padding: str | int = "circular",
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    transposed: bool = False,
    comparison: Comparison | None = None,
    exact_cost: float = EXACT_COST,
    seed: int = 0,
    layer: int = 1,
    progress: Progress = silent,
) -> KernelSpectrum:
    """The singular values of a convolution as a linear map of images, their facts, and a KS test against a reference.

    `kernel` is a Kernel or what Kernel.of takes, (c_out, c_in/groups, k_1, ..., k_D); the options are those of
    measure.convolution.geometry.Geometry, and the values those of convolution_values. The facts of the values are
    measure.layer.spectrum.spectrum's, and besides:

    - `m` and `n` are the sides of the map, c_out * outputs and c_in * prod(image). `nnz`, `sparsity`, `c` and `d` are
      of the kernel-level mask: whole kernels, those that an input channel feeds and those that an output channel reads;
    - `reshaped_sigma_max` is the largest singular value of the (c_out, c_in k^D) matrix, which tools that reshape the
      kernel print for the norm. The map's is between it and sqrt(k^D) times it, with circular padding on an image that
      holds the kernel;
    - `reason` also says why the values of an orthogonal scheme are not all equal, where the geometry is the cause;
    - `rank` counts values above the larger of max(m, n) 2^-52 s_1, the rounding of the arithmetic, and
      max(c_out, c_in k^D) eps s_1, that of a kernel born in a coarser dtype; the slack of the KS test is
      10 sqrt(sides) eps s_1 with the same sides and eps, or SOC's `error_bound` twice, where that is more.

    A `transposed` one is torch.nn.ConvTranspose's: `kernel` is (c_in, c_out/groups, k_1, ...), `image` what it reads.
    Its map is the transpose of the convolution that leads back, and has the same singular values.

    The reference "dense" is a dense orthogonal map: min(m, n) values equal to `comparison.gain`. A reference that is
    given is a kernel, applied to the same image in the same way.

    Raises what convolution_values raises, and FormatError for a reference that is a matrix, or more than one.

    >>> found = kernel_spectrum(np.array([[[0.5, 0.5]]]), 8)  # a mean of two neighbours
    >>> found.m, found.n, round(found.sigma_max, 12), found.rank, round(found.reshaped_sigma_max, 6)
    (8, 8, 1.0, 7, 0.707107)
    """
    kernel = checked_kernel(kernel, groups)
    comparison = _comparison(kernel, comparison or Comparison())
    if transposed:
        image = transposed_outputs(image, kernel.size, padding, stride, dilation)
    geometry = Geometry(image, kernel.size, padding, stride, dilation)
    measure = functools.partial(_measured, geometry, groups, exact_cost, seed, layer, progress)
    found = measure(kernel)
    measured = _facts_of(kernel, geometry, groups, found)
    test, others = measured.compare(comparison, functools.partial(_reference, measured, comparison, measure))
    facts = measured.facts(comparison.within)
    causes = [*([facts["reason"]] if facts["reason"] else []), *_causes(kernel, geometry, measured)]
    facts["reason"] = "; ".join(causes) or None
    mask = kernel.mask
    reshaped = measured_singular_values(kernel.reshaped(), seed=seed, layer=layer, progress=progress)
    row = KernelSpectrum(
        layer=layer,
        method=str(mask.provenance.get("method", "given")),
        activation="linear",
        m=measured.shape[0],
        n=measured.shape[1],
        nnz=mask.nnz,
        sparsity=mask.sparsity,
        c=mean_degree(mask.nnz, mask.n * groups),
        d=mean_degree(mask.nnz, mask.m),
        **facts,
        exact=found.exact,
        ks=test,
        repeats=None,
        singular_values=found.values,
        reference_values=others,
        scheme=mask.provenance.get("scheme"),
        kernel=kernel.shape,
        image=geometry.image,
        output_image=geometry.outputs,
        padding=geometry.padding,
        stride=geometry.stride,
        dilation=geometry.dilation,
        groups=groups,
        reshaped_sigma_max=float(reshaped.values[0]),
    )
    return replace(row, **{key: getattr(row, other) for key, other in _TURNED.items()}) if transposed else row


def _comparison(kernel: Kernel, comparison: Comparison) -> Comparison:
    """With slack for a truncated series, whose values are as far from equal ones as its bound says."""
    bound = float(kernel.mask.provenance.get("error_bound") or 0.0)
    default = 10 * math.sqrt(max(kernel.shape)) * max(kernel.eps, EPSILON)
    if comparison.resolution is not None or 2 * bound <= default:
        return comparison
    return replace(comparison, resolution=2 * bound * comparison.gain)


def _measured(
    geometry: Geometry, groups: int, exact_cost: float, seed: int, layer: int, progress: Progress, kernel: Kernel
) -> SingularValues:
    return convolution_values(
        kernel,
        geometry.image,
        padding=geometry.padding,
        stride=geometry.stride,
        dilation=geometry.dilation,
        groups=groups,
        exact_cost=exact_cost,
        seed=seed,
        layer=layer,
        progress=progress,
    )


def _facts_of(kernel: Kernel, geometry: Geometry, groups: int, found: SingularValues) -> Measured:
    shape = geometry.sides(kernel.shape[0], kernel.shape[1] * groups)
    sides = (kernel.shape[0], math.prod(kernel.shape[1:]))
    coarse = max(sides) * kernel.eps > max(shape) * EPSILON
    sides, eps = (sides, kernel.eps) if coarse else (shape, EPSILON)
    return Measured(found=found, shape=shape, sides=sides, eps=eps, what="the operator")


def _reference(measured: Measured, comparison: Comparison, measure: Measure, name: str) -> Reference:
    given = comparison.reference
    if isinstance(given, str):
        values = dense_jacobian_values(*measured.shape, gain=comparison.gain)
        return Reference(SingularValues(values=values, exact=True), measured.eps)
    if len(given) != 1 or not isinstance(given[0], Kernel):
        what = f"{len(given)} weights" if len(given) != 1 else "a matrix"
        raise FormatError(f"the reference {name} holds {what}; a convolution is compared with one kernel")
    return Reference(measure(given[0]), max(given[0].eps, EPSILON))


def _causes(kernel: Kernel, geometry: Geometry, measured: Measured) -> Iterator[str]:
    """Why the singular values of an orthogonal scheme are not all equal, as far as scheme and geometry tell."""
    facts = kernel.mask.provenance
    values = measured.found.values
    slack = measured.resolution(Comparison(), measured.eps, float(values[0]))
    bound = float(facts.get("error_bound") or 0.0)
    if values[0] - values[-1] <= slack + 2 * bound * values[0] or facts.get("method") not in ORTHOGONAL:
        return
    if facts.get("looks_linear"):
        yield "a looks-linear kernel [[H, -H], [-H, H]] has twice the singular values of H, and as many zeros"
    scheme = str(facts.get("scheme"))
    c_out, c_in = kernel.shape[:2]
    if scheme not in SCHEMES:
        return
    row = SCHEMES[scheme]
    if row.central:
        for axis in dict.fromkeys(geometry.axes):
            yield from _delta_causes(axis, c_out > c_in)
    elif row.circular and geometry.padding != "circular":
        yield f"{scheme.upper()} kernels are orthogonal with circular padding only, and it is {geometry.padding} here"
    elif row.sampled:
        for side, size, dilation in dict.fromkeys(zip(geometry.image, geometry.size, geometry.dilation, strict=True)):
            if dilation * size % side:
                yield (
                    f"{scheme.upper()} kernels are orthogonal only where the image's side divides dilation * size, and "
                    f"{side} does not divide {dilation} * {size}"
                )
    if row.circular and c_out > c_in and math.prod(geometry.stride) > 1:
        yield f"from {c_in} to {c_out} channels all outputs together keep the norm, and a stride leaves some out"


def _delta_causes(axis: Axis, grows: bool) -> Iterator[str]:
    """Where the centre of a delta kernel reads along one axis; with more outputs than inputs it must read all."""
    reads = axis.reads([axis.size // 2])
    places, counts = np.unique(reads[reads >= 0], return_counts=True)
    where = f"of {axis.size} taps, on an image of {axis.side} with padding {axis.padding} and stride {axis.stride}"
    if (reads < 0).any():
        yield f"the centre {where}, reads zeros beyond the edge"
    if (counts > 1).any():
        yield f"the centre {where}, reads some places twice"
    if grows and len(places) < axis.side:
        yield f"the centre {where}, leaves places unread that the outputs have room for"
