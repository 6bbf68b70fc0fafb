"""Spectra of convolutions beside the full FFT with an SVD a frequency, and parts of them beside LAPACK and svds.

python tests/benchmarks/bench_convolution.py          c = 64, 128 and 256, 32 x 32, 3 x 3 (some minutes)
python tests/benchmarks/bench_convolution.py --quick  c = 64 alone (under a minute)
"""

import sys

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np

from sao_cli.data.kernel import Kernel
from sao_cli.measure.convolution.geometry import Geometry
from sao_cli.measure.convolution.operator import ConvolutionGram, PartOperator
from sao_cli.measure.convolution.operator_values import convolution_values, largest_value
from sao_cli.measure.convolution.parts import channel_parts
from sao_cli.measure.values.small_singular_values import small_singular_values
from sao_cli.weights.kernels.build_kernels import build_kernel

IMAGE, TAPS, DEGREE = 32, 3, 4
GENERAL_GOAL, SAO_GOAL = 0.55, 0.05
SAMPLE = {64: IMAGE**2, 128: 128, 256: 32}  # frequencies whose SVDs are timed, of IMAGE^2: all of them take minutes
ROUNDS = 5
SVDS_TOLERANCE = 1e-8


def sedghi_seconds(kernel: Kernel, sample: int) -> float:
    """The seconds of Sedghi, Gupta and Long's way, its SVDs scaled up from `sample` of the frequencies."""
    taps_first = np.ascontiguousarray(kernel.values.transpose(2, 3, 0, 1))
    channels = taps_first.shape[2:]
    transforms = []
    fft = bench.seconds(lambda: transforms.append(np.fft.fft2(taps_first, (IMAGE, IMAGE), axes=(0, 1))))
    some = transforms[0].reshape(-1, *channels)[:: IMAGE**2 // sample]
    return fft + IMAGE**2 / len(some) * bench.seconds(lambda: np.linalg.svd(some, compute_uv=False))


def against_sedghi(channels: int) -> None:
    kernels = {
        "general dense kernel": (build_kernel(channels, channels, TAPS, scheme="normal"), GENERAL_GOAL),
        f"SAO-ECO, d = {DEGREE}": (build_kernel(channels, channels, TAPS, scheme="eco", d=DEGREE), SAO_GOAL),
        f"SAO-Delta, d = {DEGREE}": (build_kernel(channels, channels, TAPS, d=DEGREE), SAO_GOAL),
    }
    sample = SAMPLE[channels]
    scaled = "" if sample == IMAGE**2 else f", its SVDs scaled from {sample} of {IMAGE**2} frequencies"
    for name, (kernel, goal) in kernels.items():
        pairs = [
            (bench.seconds(lambda k=kernel: convolution_values(k, IMAGE)), sedghi_seconds(kernel, sample))
            for _ in range(ROUNDS + 1)
        ][1:]
        ours, theirs = (bench.Median(side) for side in zip(*pairs, strict=True))
        bench.print_ratio(f"c = {channels}, {name}: convolution_values / FFT and SVDs{scaled}", ours, theirs, goal)


def stacks_against_lapack() -> None:
    """As many blocks as c = 64, d = 4 and 32 x 32 have."""
    rng = np.random.default_rng(0)
    for k in (2, 3, DEGREE, 8):
        for kind, imaginary in (("real", 0), ("complex", 1j)):
            stack = rng.standard_normal((8160, k, k)) + imaginary * rng.standard_normal((8160, k, k))
            sides = (lambda a=stack: small_singular_values(a)), (lambda a=stack: np.linalg.svd(a, compute_uv=False))
            job = f"{len(stack)} {kind} {k} x {k}: small_singular_values / numpy.linalg.svd"
            bench.print_ratio(job, *bench.processor_seconds(sides, ROUNDS))


def sigma_max_against_svds(channels: int) -> None:
    """The largest singular value with zero padding, by the same products on both sides, and the whole density."""
    from scipy.sparse.linalg import LinearOperator, svds

    kernel = build_kernel(channels, channels, TAPS, scheme="normal")
    geometry = Geometry(IMAGE, kernel.size, "zeros")
    (part,) = channel_parts(kernel)
    convolution = PartOperator(part, geometry)
    linear = LinearOperator(
        geometry.sides(channels, channels),
        matvec=lambda x: convolution.apply(x.reshape(convolution.inputs)).reshape(-1),
        rmatvec=lambda y: convolution.transposed(y.reshape(convolution.outputs)).reshape(-1),
        dtype=np.float64,
    )
    gram = ConvolutionGram([convolution])
    found, others, products = [], [], []

    def counted(x: np.ndarray) -> np.ndarray:
        products.append(1)
        return ConvolutionGram.apply(gram, x)

    gram.apply = counted
    calls = (
        lambda: found.append(largest_value(gram, np.random.default_rng(0))),
        lambda: others.append(svds(linear, k=1, tol=SVDS_TOLERANCE, return_singular_vectors=False, rng=0)[0]),
    )
    ours, theirs = bench.processor_seconds(calls)
    away = abs(found[0].value / others[0] - 1)
    bench.print_ratio(
        f"c = {channels}, zeros: sigma_max with its bound / svds(k=1, tol={SVDS_TOLERANCE:g})", ours, theirs
    )
    bounded = f"{found[0].value:.12g}, {away:.2g} from svds', bound {found[0].bound:.2g}"
    print(f"  {len(products) // len(found)} Gram products; {bounded}")
    values = []
    seconds = bench.seconds(lambda: values.append(convolution_values(kernel, IMAGE, padding="zeros")))
    told = f"c = {channels}, zeros: all {len(values[0].values):,} values as a density"
    bench.print_value(told, seconds, "s")
    bench.print_value(f"{told}: error of its distribution", values[0].error)


def main() -> None:
    for channels in (64,) if "--quick" in sys.argv[1:] else (64, 128, 256):
        against_sedghi(channels)
    stacks_against_lapack()
    sigma_max_against_svds(64)


if __name__ == "__main__":
    main()
