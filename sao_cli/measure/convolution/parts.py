"""How the channels of a convolution fall apart: connected components, and the taps that are live in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.measure.values.by_component import labelled

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """Components of one shape with the same live taps: `weights` (count, taps, c_out, c_in), `places` (taps, D).

    Tap t stands at places[t] of the kernel.
    """

    weights: Values
    places: NDArray[np.int64]

    @property
    def count(self) -> int:
        return len(self.weights)

    @property
    def channels(self) -> tuple[int, int]:
        """(c_out, c_in) of each component."""
        return self.weights.shape[2], self.weights.shape[3]

    def live(self, axis: int) -> list[int]:
        """The places along one axis at which some tap is live, ascending."""
        places: list[int] = np.unique(self.places[:, axis]).tolist()
        return places


def channel_parts(kernel: Kernel, groups: int = 1) -> list[Part]:
    """The connected components of the channels that `kernel` joins, as convolutions of their own.

    Outputs and inputs are joined by a kernel that is not zero as a whole; with g groups output o of c_out reads those
    of group o // (c_out/g) alone. A permutation of channels makes the operator block diagonal in the components, so
    that its singular values are theirs, and zeros for channels that nothing joins. Taps that are zero in a whole
    component are left out. O(size of the kernel).
    """
    c_out, c_in = kernel.mask.shape
    values = kernel.values.reshape(c_out, c_in, -1)
    require_memory(4 * values.nbytes, "the singular values of a kernel", "choose fewer channels or taps")
    rows, columns = np.nonzero((values != 0).any(axis=2))
    if not len(rows):
        return []
    joined = Mask.from_entries(rows, columns + rows // (c_out // groups) * c_in, (c_out, c_in * groups))
    components = labelled(joined)
    taps = np.concatenate((np.zeros((1, values.shape[2])), values[rows, columns]))
    numbers = np.arange(1.0, 1 + len(rows))  # of the kernels; 0 is where there is none
    parts = []
    for _, batch in components.batches(np.arange(components.count), numbers):
        parts += _by_live_taps(taps[batch.astype(np.int64)], kernel.size)
    return parts


def _by_live_taps(weights: Values, size: tuple[int, ...]) -> list[Part]:
    """Components (count, c_out, c_in, taps) of one shape, those with the same live taps together."""
    live, which = np.unique((weights != 0).any(axis=(1, 2)), axis=0, return_inverse=True)
    parts = []
    for number, taps in enumerate(live):
        chosen = weights[which.reshape(-1) == number][..., taps]
        places = np.stack(np.unravel_index(np.flatnonzero(taps), size), axis=1)
        parts.append(Part(np.ascontiguousarray(np.moveaxis(chosen, 3, 1)), places.astype(np.int64)))
    return parts
