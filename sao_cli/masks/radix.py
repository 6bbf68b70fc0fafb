"""RadiX-Net: mixed-radix topologies (Kepner and Robinett 2019)."""

import math
from collections.abc import Sequence

import numpy as np

from sao_cli.base.errors import InfeasibleError
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks.degrees import check_widths, divisors, resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory


def radix_stack(widths: Sequence[int], degrees: Sequence[int]) -> list[Mask]:
    """The layers of a RadiX-Net with the given widths, inputs first, and row degrees, one a layer.

    With N' a common divisor of all widths and r_l = d_l N'/n_l, layer l is ones(m/N', n/N') (x) W, where W joins
    node j of N' to nodes j + t v, t = 0 .. r_l - 1 (mod N'), and v = r_1 ... r_(l-1) is the place value in a
    mixed-radix numeral system; when the radices multiply to N' a new system begins at v = 1 (Kepner and Robinett
    2019, section III). Within one system any input reaches any output by equally many paths. N' is the largest
    common divisor that the degrees allow. It is deterministic: there is nothing random in it.

    Raises InfeasibleError where no N' fits the degrees. O(nnz).
    """
    check_widths(widths)
    shapes = list(zip(widths[1:], widths, strict=False))
    for (m, n), d in zip(shapes, degrees, strict=True):
        resolve_degree(m, n, "radix", d=d)
        require_mask_memory(m, n, m * d)
    base = numeral_base(shapes, degrees)
    masks, place = [], 1
    for layer, ((m, n), d) in enumerate(zip(shapes, degrees, strict=True), 1):
        radix = d * base // n
        if base % (place * radix):
            place = 1
        masks.append(_radix_layer(m, n, d, base, place, layer))
        place = place * radix % base or 1
    return masks


def feasible(m: int, n: int) -> list[int]:
    """Every row degree d = r n/g, ascending, for a radix r that divides a common divisor g of m and n."""
    return sorted({radix * (n // g) for g in divisors(math.gcd(m, n)) for radix in divisors(g)})


def rule(m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    return f"d must be r*n/g with r a divisor of g and g a divisor of gcd({m}, {n}) = {math.gcd(m, n)}"


def check_stack(shapes: Sequence[tuple[int, int]], degrees: Sequence[int]) -> None:
    """Raise InfeasibleError where each layer may have its degree, and all of them together may not."""
    numeral_base(shapes, degrees)


def numeral_base(shapes: Sequence[tuple[int, int]], degrees: Sequence[int]) -> int:
    """N', the largest common divisor of all sizes that the layers' row degrees allow; InfeasibleError where none is."""
    common = math.gcd(*(size for shape in shapes for size in shape))
    for base in reversed(divisors(common)):
        if all(d * base % n == 0 and base % (d * base // n) == 0 for (_, n), d in zip(shapes, degrees, strict=True)):
            return base
    raise InfeasibleError(
        f"no RadiX-Net with degrees {list(degrees)}: each must be r*n/N' with r a divisor of N', "
        f"and N' one common divisor of all widths (of {common}); choose degrees nearer to each other, or equal widths"
    )


def _radix_layer(m: int, n: int, d: int, base: int, place: int, layer: int) -> Mask:
    radix = d * base // n
    dtype = index_dtype(m * d, n)
    nodes = np.arange(base, dtype=dtype)
    sources: Indices = np.sort((nodes[:, None] - place * nodes[:radix]) % base, axis=1)
    blocks = sources[:, None, :] + np.arange(0, n, base, dtype=dtype)[:, None]
    columns = np.tile(blocks.reshape(base, d), (m // base, 1))
    return regular_mask(columns, n, provenance("radix", m, n, d, seed=0, layer=layer, base=base, place=place))
