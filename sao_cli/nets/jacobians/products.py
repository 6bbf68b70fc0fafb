"""Products with a function's Jacobian and its transpose, and the Gram operator that Lanczos processes take of them."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import is_out_of_memory
from sao_cli.data.matrix import FINITE
from sao_cli.nets.jacobians.functions import Function, called

ADJOINT = 1e-4  # relative; disagreement of <u, J v> and <J^T u, v> that rounding does not explain


class JacobianProducts:
    """J^T u and J v of a function at one point, for several u or v at a time, through one graph of its forward pass.

    J is (m, n) in the order of the flattened output and input, `shape`. u -> J^T u is linear, and its own reverse mode
    gives J v: twice the reverse mode where forward mode needs each operation's own rule, which old autograd functions
    lack. `connected` is False where no path leads from the input to the output.

    Raises what `called` raises.

    >>> products = JacobianProducts(torch.square, torch.tensor([1.0, 2.0, 3.0]))
    >>> products.backward(torch.ones(1, 3)), products.forward(torch.eye(3)[:1])
    (tensor([[2., 4., 6.]]), tensor([[2., 0., 0.]]))
    """

    def __init__(self, function: Function, point: Tensor) -> None:
        self.point = point
        self._leaf = point.clone().requires_grad_()
        self._out = called(function, self._leaf.clone())  # a clone, for what works in place
        self.shape = (self._out.numel(), self._leaf.numel())
        self.connected = bool(self._out.requires_grad)
        self.eps = float(torch.finfo(self._out.dtype).eps)

    @property
    def output(self) -> Tensor:
        """The function's value at the point."""
        return self._out.detach()

    @property
    def widest(self) -> int:
        """The largest number of gradients between two operations of the graph. O(operations)."""
        seen: set[Any] = {None}
        todo: list[Any] = [self._out.grad_fn]
        widest: int = max(self.shape)
        while todo:
            if (node := todo.pop()) not in seen:
                seen.add(node)
                widest = max([widest, *(math.prod(part.shape) for part in node._input_metadata)])
                todo.extend(following for following, _ in node.next_functions)
        return widest

    def row_bytes(self) -> int:
        """Bytes of the largest tensor that one more row makes in `backward`, or `forward` where n < m.

        By one row against three: an operation that joins each row with a weight may copy the weight for each.
        """
        m, n = self.shape
        found = []
        for count in (1, 3):
            with _Largest() as largest:
                (self.backward if m <= n else self.forward)(self.point.new_zeros(count, min(m, n)))
            found.append(largest.bytes)
        per_row: int = (found[1] - found[0]) // 2
        return per_row

    def backward(self, rows: Tensor) -> Tensor:
        """(count, n) products J^T u with the (count, m) `rows`."""
        return _derivatives(self._out, self._leaf, rows)

    def forward(self, rows: Tensor) -> Tensor:
        """(count, m) products J v with the (count, n) `rows`."""
        start, image = self._twice
        return _derivatives(image, start, rows)

    @functools.cached_property
    def _twice(self) -> tuple[Tensor, Tensor]:
        start = torch.zeros_like(self._out, requires_grad=True)
        (image,) = torch.autograd.grad(self._out, self._leaf, start, create_graph=True, materialize_grads=True)
        return start, image


class _Largest(TorchDispatchMode):  # type: ignore[misc]
    """The size of the largest tensor that any operation inside makes, in `bytes`."""

    bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(made) if isinstance(one, Tensor)]
        self.bytes = max([self.bytes, *(one.untyped_storage().nbytes() for one in tensors)])
        return made


class JacobianGram:
    """x -> 4^-exponent J J^T x, or J^T J x where that is smaller, on numpy's float64 vectors; a SizedOperator."""

    def __init__(self, products: JacobianProducts, exponent: int) -> None:
        m, n = products.shape
        self._there, self._back = products.backward, products.forward
        if n < m:
            self._there, self._back = self._back, self._there
        self._like, self._factor = products.point, math.ldexp(1.0, -exponent)
        self.size = min(m, n)

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The product; FormatError where it is not finite."""
        rows = torch.from_numpy(x).to(self._like)[None]
        image = self._back(self._there(rows) * self._factor) * self._factor
        found: NDArray[np.float64] = image[0].double().cpu().numpy()
        if not np.isfinite(found).all():
            raise FormatError(f"a product with the Jacobian is not finite; {FINITE}")
        return found

    def project_(self, x: NDArray[np.float64]) -> None:
        """Nothing is projected out."""


def checked_norm(products: JacobianProducts, rng: np.random.Generator) -> float:
    """|J^T u| for a normal random u, about the Frobenius norm of J.

    Raises SaoError where <u, J v> is not <J^T u, v>, which no matrix does, and FormatError where it is not finite.
    """
    u = torch.from_numpy(rng.standard_normal((1, products.shape[0]))).to(products.point)
    image = products.backward(u)
    norm = float(torch.linalg.vector_norm(image))
    if norm == 0:
        return norm
    if not math.isfinite(norm):
        raise FormatError(f"a product with the Jacobian is {norm}; {FINITE}")
    again = float((products.forward(image / norm) * u).sum())
    if not abs(again - norm) <= ADJOINT * norm:
        raise SaoError(
            f"products with J and its transpose disagree ({again:.6g} and {norm:.6g}): a backward pass of the module "
            f"is not linear; raise max_dense to {min(products.shape)}, which takes it as it is"
        )
    return norm


def _derivatives(outputs: Tensor, inputs: Tensor, rows: Tensor) -> Tensor:
    """(count, inputs) products of the (count, outputs) `rows` with the derivative; 0 where no path leads."""
    if not outputs.requires_grad:
        return rows.new_zeros(len(rows), inputs.numel())
    upstream = rows.to(outputs.dtype).view(-1, *outputs.shape)
    if len(rows) == 1:
        return _gradients(outputs, inputs, upstream[0], 1, False)
    try:
        return _gradients(outputs, inputs, upstream, len(rows), True)
    except RuntimeError as error:  # a backward pass that can't be batched, as one that branches on its values
        if is_out_of_memory(error):
            raise
        return torch.cat([_derivatives(outputs, inputs, row[None]) for row in rows])


def _gradients(outputs: Tensor, inputs: Tensor, upstream: Tensor, count: int, batched: bool) -> Tensor:
    (found,) = torch.autograd.grad(
        outputs, inputs, upstream, retain_graph=True, allow_unused=True, is_grads_batched=batched
    )
    return inputs.new_zeros(count, inputs.numel()) if found is None else found.reshape(count, -1)
