"""`CSRLinear`: a linear layer that holds, and multiplies with, the weights of any mask alone."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.nets.layers.linear import current_tensor


class CSRLinear(nn.Module):  # type: ignore[misc]
    """y = W x + b with W in compressed rows: O(nnz) a sample and O(nnz) parameters, whatever the mask.

    Parameters are `weight` (nnz,), row by row, and `bias` (m,) or None; buffers, kept in the state_dict, `row_starts`
    (m + 1,) and `columns` (nnz,). Gradients flow to both, and to x. Where the mask is an SAO mask, SAOLinear is faster.
    On a CPU the product is as fast as torch's sparse one: with MKL from 90 % sparsity on faster than a dense layer,
    without it later or never; `sao_cli.nets.compact_` measures.

    >>> layer = CSRLinear.from_linear(nn.Linear(4, 3))
    >>> layer
    CSRLinear(in_features=4, out_features=3, weights=12, bias=True)
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    row_starts: Tensor
    columns: Tensor

    def __init__(self, mask: Mask, bias: bool = True, *, device: Any = None, dtype: torch.dtype | None = None) -> None:
        """The layer on `mask` (m, n) with zeros for weights and bias, for a caller who fills them."""
        super().__init__()
        self.out_features, self.in_features = mask.shape
        self.weight = nn.Parameter(torch.zeros(mask.nnz, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(mask.m, device=device, dtype=dtype)) if bias else None
        self.register_buffer("row_starts", torch.as_tensor(mask.indptr.astype(np.int64), device=device))
        self.register_buffer("columns", torch.as_tensor(mask.indices.astype(np.int64), device=device))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # once a process: that torch's sparse tensors are in beta
            self._compressed()

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """The same layer as `linear`; a copy, in its dtype, on its device.

        A weight is held where torch.nn.utils.prune keeps it (`weight_mask`), and where the layer is not pruned, where
        it is not 0. Raises SaoError for what is no nn.Linear. O(m n).
        """
        if not isinstance(linear, nn.Linear):
            raise SaoError(f"a {type(linear).__name__} is no torch.nn.Linear; only such a layer can be converted")
        weight, bias = current_tensor(linear, "weight"), current_tensor(linear, "bias")
        assert weight is not None
        made = cls(
            Mask.from_torch(getattr(linear, "weight_mask", weight)),
            bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            made.weight.copy_(weight[made._rows(), made.columns])
            if made.bias is not None:
                made.bias.copy_(bias)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """(..., m) outputs of (..., n) inputs. Raises SaoError for inputs of another width."""
        if x.shape[-1] != self.in_features:
            raise SaoError(f"inputs of width {x.shape[-1]} for a layer of {self.in_features} inputs; they must agree")
        out = (self._compressed() @ x.reshape(-1, self.in_features).t()).t()
        out = out if self.bias is None else out + self.bias
        return out.reshape(*x.shape[:-1], self.out_features)

    def to_dense(self) -> Tensor:
        """The weight as a dense (m, n) tensor, through which gradients flow back. O(m n)."""
        dense = self.weight.new_zeros(self.out_features, self.in_features)
        return dense.index_put((self._rows(), self.columns), self.weight)

    def to_matrix(self) -> Matrix:
        """The weight as a Matrix, on the CPU, to be measured or written. O(nnz)."""
        indptr, indices = (part.cpu().numpy() for part in (self.row_starts, self.columns))
        mask = Mask(indptr, indices, (self.out_features, self.in_features))
        dtype = str(self.weight.dtype).removeprefix("torch.")
        return Matrix(mask, self.weight.detach().cpu().double().numpy(), dtype)

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, weights={len(self.weight)}, bias={self.bias is not None}"

    def _compressed(self) -> Tensor:
        shape = (self.out_features, self.in_features)
        return torch.sparse_csr_tensor(self.row_starts, self.columns, self.weight, shape)

    def _rows(self) -> Tensor:
        rows = torch.arange(self.out_features, device=self.row_starts.device)
        return rows.repeat_interleave(self.row_starts.diff())
