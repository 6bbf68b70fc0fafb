"""The singular values of dense arrays on a torch device, for audits: the Gram matrix and its eigenvalues stay there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sao_cli.nets.devices import find_device, require_device_memory

Values = NDArray[np.float64]

_ENTRIES = 2**24  # of one piece: 64 MB of float32 and 128 MB of float64 on the device


@dataclass(frozen=True)
class DeviceSolver:
    """x -> the min(m, n) singular values, descending, of a dense (m, n) array x, found on the torch `device`.

    For the `solver` of audit_weight, audit_checkpoint and audit_model; it travels to the workers of an executor, each
    of which needs such a device. As measure.values.by_array.dense_singular_values has it: float64 arrays by an SVD,
    others by the roots of the eigenvalues of their Gram matrix, which is summed in float64 in pieces of 2^24 numbers.
    Sums are taken in another order than on the processor, so that values differ by rounding, within the same bounds.

    A call raises SaoError where the device is not there and MemoryLimitError where its free memory would not do: 24
    bytes for each number of the Gram matrix and 1 GB of pieces and work, or four float64 copies of a float64 array;
    numpy.linalg.LinAlgError where the decomposition does not converge. O(m n min(m, n)).

    >>> DeviceSolver("cpu")(np.array([[3, 0, 4], [0, 2, 0]], dtype=np.float32)).round(6)
    array([5., 2.])
    """

    device: str

    @classmethod
    def of(cls, name: str) -> DeviceSolver | None:
        """That of the device called `name`, as find_device has it; None for the processor, which needs no torch.

        Raises what find_device raises, at once and not for each array.
        """
        device = find_device(name)
        return None if device.type == "cpu" else cls(str(device))

    def __call__(self, dense: NDArray[Any]) -> Values:
        device = find_device(self.device)
        tall = dense if dense.shape[0] >= dense.shape[1] else dense.T
        solve: Callable[..., torch.Tensor] = _by_svd if dense.dtype == np.float64 else _by_gram_matrix
        try:
            values: Values = solve(tall, device, f"{dense.shape[0]} x {dense.shape[1]}").cpu().numpy()
        except torch.linalg.LinAlgError as error:
            raise np.linalg.LinAlgError(str(error)) from error
        return values


def _by_svd(dense: NDArray[Any], device: torch.device, sides: str) -> torch.Tensor:
    require_device_memory(device, 32.0 * dense.size, f"the SVD of {sides}")
    return torch.linalg.svdvals(_moved(dense, device))


def _by_gram_matrix(dense: NDArray[Any], device: torch.device, sides: str) -> torch.Tensor:
    side = dense.shape[1]
    pieces = 60.0 * min(dense.size, _ENTRIES)
    require_device_memory(device, 24.0 * side**2 + pieces, f"the Gram matrix of {sides}")
    gram = torch.zeros((side, side), dtype=torch.float64, device=device)
    step = max(1, _ENTRIES // side)
    for start in range(0, len(dense), step):
        piece = _moved(dense[start : start + step], device).to(torch.float64)
        gram.addmm_(piece.T, piece)
    return torch.linalg.eigvalsh(gram).flip(0).clamp(min=0).sqrt()


def _moved(numbers: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A copy on the device, in the precision that the numbers are stored in."""
    return torch.from_numpy(np.array(numbers, order="C")).to(device)
