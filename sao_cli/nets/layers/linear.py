"""`SAOLinear`: a linear layer on an SAO mask that holds, and multiplies with, its K blocks alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import VALUES, generator
from sao_cli.data.mask import Indices, Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.degrees import check_target
from sao_cli.masks.sao import sao_mask
from sao_cli.nets.layers.activation import Erf, ThresholdActivation
from sao_cli.nets.layers.blank import blank
from sao_cli.nets.layers.feature_order import Features
from sao_cli.weights.haar import haar_blocks

if TYPE_CHECKING:
    from numpy.random import Generator

# Of one number each, and without parameters: what they give does not depend on the order of the features.
ELEMENTWISE = frozenset(
    {nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU}
    | {nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink}
    | {nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold, Erf, ThresholdActivation}
)

PART_BYTES = 2**20  # of the inputs or products that are held at once without gradients: our choice, the cache's size


class SparseLinear(nn.Module):  # type: ignore[misc]
    """What layers of one row degree share: their weight as a dense tensor, a masked nn.Linear, or a Matrix."""

    in_features: int
    out_features: int
    bias: Tensor | None
    _width: int  # in_features, and the inputs that padding adds

    # (m, d) inputs that each output reads, and the (m, d) weights with which it does, differentiable in them
    entries: Callable[[], tuple[Tensor, Tensor]]

    def to_dense(self) -> Tensor:
        """The weight as a dense (m, n) tensor, through which gradients flow back to the blocks.

        Raises MemoryLimitError where the CPU could not hold it. O(m n).
        """
        return self._scattered(*self.entries())

    def to_linear(self) -> nn.Linear:
        """The same layer as an nn.Linear masked by torch.nn.utils.prune (weight_orig, weight_mask); a copy.

        `prune.remove` makes the zeros permanent. Raises as to_dense does. O(m n).
        """
        columns, values = (part.detach() for part in self.entries())
        weight = self._scattered(columns, values)
        factory = {"device": weight.device, "dtype": weight.dtype}
        linear = blank(nn.Linear, self.in_features, self.out_features, bias=self.bias is not None, **factory)
        with torch.no_grad():
            linear.weight.copy_(weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return prune.custom_from_mask(linear, "weight", self._scattered(columns, torch.ones_like(values)))

    def to_matrix(self) -> Matrix:
        """The weight as a Matrix, on the CPU, to be measured or written. O(m d)."""
        columns, values = (part.detach().cpu() for part in self.entries())
        inside = (columns < self.in_features).numpy()
        rows = np.repeat(np.arange(self.out_features), inside.sum(axis=1))
        shape = (self.out_features, self.in_features)
        dtype = str(values.dtype).removeprefix("torch.")
        order = np.lexsort((columns.numpy()[inside], rows))
        mask = Mask.from_entries(rows, columns.numpy()[inside][order], shape, {"method": type(self).__name__})
        return Matrix(mask, values.double().numpy()[inside][order], dtype)

    def _scattered(self, columns: Tensor, values: Tensor) -> Tensor:
        """The dense (m, n) tensor with values[i, j] at (i, columns[i, j]); what padding added is dropped."""
        m, n = self.out_features, self._width
        if values.device.type == "cpu":
            require_memory(m * n * values.element_size(), f"a dense {m} x {n} weight")
        return values.new_zeros(m, n).scatter(1, columns, values)[:, : self.in_features]


class SAOLinear(SparseLinear):
    """y = W x + b with W on an SAO mask: K = n/d disjoint groups of d inputs and c outputs, each a dense c x d block.

    Parameters are `weight` (K, c, d), whose entry (k, i, j) leads from the j-th input of group k to its i-th output,
    and `bias` (m,) or None. Buffers, kept in the state_dict so that a layer is loaded whole, are `inputs` (K, d), the
    inputs of each group, and `places` (m,), where each output stands among the K c rows of the blocks.
    Forward and backward gather the inputs by group, multiply K small matrices in one batch and gather the outputs:
    O(m d) a sample, where the masked dense layer needs O(m n). SAOSequential makes one of the two gathers between
    consecutive layers. The result lies in memory feature by feature, as channels_last results lie channel by channel:
    transposing it would take as long as all the rest, and the next layer reads it as it is. So flatten it by reshape,
    not by view, or call contiguous.

    The blocks are those of sao_weight(m, n, d, seed=seed, layer=layer), to the last bit in float64 and rounded
    otherwise, so that W has all singular values 1. Layers of one model need numbers of their own (`layer` = 1, 2,
    ...), or they share groups and values. The bias begins at 0, which orthogonal initialisation assumes, and not
    as in nn.Linear.

    With `pad=True` sizes that are infeasible for `degree` are rounded up: K = ceil(n/d) groups, n' = K d inputs and
    m' = K ceil(m/K) outputs. The last n' - n inputs are always 0, and the last m' - m outputs are computed and dropped;
    their weights stay, and get no gradient. W is then a part of an orthogonal W': no singular value exceeds 1, and
    all but at most (n' - n) + (m' - m) of the min(m, n) are 1; rows that read a padded input have fewer than d ones,
    so that mask and weights are those of sao_weight(m', n', d) without its last rows and columns.

    The blocks leave orthogonality in training unless they are held there: torch.nn.utils.parametrizations.orthogonal
    (and geotorch's) take them as they are, a batch of K matrices. In 100 steps of SGD at 0.1 or Adam at 0.01 on three
    layers of 64, d = 8, in float32, all singular values stayed within 3.2e-7 of 1 with orthogonal_map "cayley" and
    "householder"; with torch's default for square blocks, "matrix_exp", they drift, and were 8.1e-7 away. Save such a
    layer after torch.nn.utils.parametrize.remove_parametrizations.

    Raises InfeasibleError for a degree that sao_mask refuses, SaoError for an unknown arrangement, and
    MemoryLimitError for what would not fit.

    >>> layer = SAOLinear(8, 8, degree=4)
    >>> layer
    SAOLinear(in_features=8, out_features=8, degree=4, groups=2, bias=True)
    >>> x = torch.ones(3, 8)
    >>> torch.allclose(layer(x), x @ layer.to_dense().T + layer.bias)
    True
    """

    weight: nn.Parameter
    inputs: Tensor
    places: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int,
        bias: bool = True,
        *,
        arrangement: str = "random",
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
        pad: bool = False,
    ) -> None:
        super().__init__()
        m, n = (padded_sizes if pad else _same_sizes)(out_features, in_features, degree)
        mask = sao_mask(m, n, degree, seed=seed, layer=layer, arrangement=arrangement)
        self._assemble(mask, out_features, in_features, bias, device, dtype)
        self.seed, self.layer = seed, layer
        self.reset_parameters()

    @classmethod
    def from_mask(
        cls,
        mask: Mask,
        bias: bool = True,
        *,
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The layer on `mask`, whose components are all K_{c,d} of one shape, with orthogonal_values of `seed`.

        Raises SaoError for any other mask. O(nnz min(c, d)).

        >>> SAOLinear.from_mask(sao_mask(4, 8, 4)).groups
        2
        """
        made = cls.unfilled(mask, bias, device, dtype)
        made.seed, made.layer = seed, layer
        made.reset_parameters()
        return made

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """The same layer as `linear`, whose mask has equal components K_{c,d}; a copy, in its dtype, on its device.

        The mask is what torch.nn.utils.prune holds (`weight_mask`), with the values of `weight_orig`; where the weight
        is not pruned, its non-zero pattern. Raises SaoError for any other mask and for what is no nn.Linear.
        reset_parameters fills the blocks as if the layer had been made with seed 0. O(m n).

        >>> layer = SAOLinear(6, 9, degree=2)
        >>> bool((SAOLinear.from_linear(layer.to_linear()).to_dense() == layer.to_dense()).all())
        True
        """
        if not isinstance(linear, nn.Linear):
            raise SaoError(f"a {type(linear).__name__} is no torch.nn.Linear; only such a layer can be converted")
        weight, bias = current_tensor(linear, "weight"), current_tensor(linear, "bias")
        assert weight is not None
        mask = Mask.from_torch(getattr(linear, "weight_mask", weight))
        made = cls.unfilled(mask, bias is not None, weight.device, weight.dtype)
        made.seed, made.layer = 0, 1
        with torch.no_grad():
            outputs = made.places.argsort().view(made.groups, -1, 1)
            made.weight.copy_(weight[outputs, made.inputs[:, None, :]])
            if made.bias is not None:
                made.bias.copy_(bias)
        return made

    @property
    def degree(self) -> int:
        """The row degree d: how many inputs each output reads."""
        return int(self.weight.shape[2])

    @property
    def groups(self) -> int:
        """K, the number of blocks."""
        return int(self.weight.shape[0])

    def reset_parameters(self) -> None:
        """Fill the blocks with the Haar-random values of the layer's seed, the same every time, and the bias with 0."""
        self.fill_(generator(self.seed, self.layer, VALUES))

    def fill_(self, rng: Generator) -> None:
        """Draw an independent Haar-random semi-orthogonal matrix for each block, and set the bias to 0."""
        if self.weight.is_meta:
            return
        with torch.no_grad():
            count, outputs, degree = self.weight.shape
            self.weight.copy_(torch.from_numpy(haar_blocks(count, outputs, degree, rng)))
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(..., m) outputs of (..., n) inputs. Raises SaoError for inputs of another width."""
        features = Features.of(x)
        at_once = self._groups_at_once(features)
        return (self.blocks(features) if at_once >= self.groups else self._by_parts(features, at_once)).batch()

    def blocks(self, features: Features) -> Features:
        """The layer's outputs in the order of its blocks, their gather left to whoever reads them."""
        groups, outputs, _ = self.weight.shape
        bias = self.bias
        if bias is not None:
            bias = bias.new_zeros(groups * outputs).index_copy(0, self.places, bias).view(groups, outputs)
        products = _products(self._padded(features), self.inputs, self.weight, bias)
        return Features(products, 0, self.places, features.lead)

    def _by_parts(self, features: Features, at_once: int) -> Features:
        """The layer's outputs in their own order, `at_once` groups after the other, and no other array of their size.

        Gathered inputs and products stay in the caches, and the allocator keeps their memory: where it gives three
        such arrays back after each forward, fresh pages take longer than all the rest.
        """
        features = self._padded(features)
        rows = torch.empty_like(self.places)
        rows[self.places] = torch.arange(len(rows))
        out = None
        parts = (array.split(at_once) for array in (rows.view(self.groups, -1), self.inputs, self.weight))
        for owned, inputs, weight in zip(*parts, strict=True):
            products = _products(features, inputs, weight, None if self.bias is None else self.bias[owned])
            out = products.new_empty(len(rows), products.shape[1]) if out is None else out
            out[owned.flatten()] = products
        return Features(out, 0, None, features.lead)

    def _groups_at_once(self, features: Features) -> int:
        """How many blocks to multiply in one call: all of them where gradients, a tracer or a GPU want few steps."""
        groups, outputs, degree = self.weight.shape
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        has_padded_outputs = len(self.places) < groups * outputs
        if torch.is_grad_enabled() or traced or has_padded_outputs or self.weight.device.type != "cpu":
            return int(groups)
        group_bytes = features.lead.numel() * max(outputs, degree) * self.weight.element_size()
        return int(PART_BYTES // max(1, group_bytes)) or 1

    def _padded(self, features: Features) -> Features:
        width = features.width()
        if width != self.in_features:
            raise SaoError(f"inputs of width {width} for a layer of {self.in_features} inputs; they must agree")
        return features.padded(self.inputs.numel())

    def entries(self) -> tuple[Tensor, Tensor]:
        """(m, d) inputs that each output reads, and the weights with which it does; inputs from n on are padding."""
        columns = self.inputs[self.places // self.weight.shape[1]]
        return columns, self.weight.flatten(0, 1)[self.places]

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}, degree={self.degree}"
        held = (self.groups * self.weight.shape[1], self._width)
        pad = "" if held == (self.out_features, self.in_features) else f", padded={held[0]} x {held[1]}"
        return f"{sizes}, groups={self.groups}, bias={self.bias is not None}{pad}"

    @classmethod
    def unfilled(cls, mask: Mask, bias: bool, device: Any, dtype: torch.dtype | None) -> Self:
        """The layer on `mask` with undefined values, for a caller who fills them and sets `seed` and `layer`."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._assemble(mask, *mask.shape, bias, device, dtype)
        return made

    def _assemble(
        self, mask: Mask, out_features: int, in_features: int, bias: bool, device: Any, dtype: torch.dtype | None
    ) -> None:
        """Groups from `mask`, of which only the first `out_features` rows will be read; values are left undefined."""
        inputs, outputs = equal_groups(mask)
        places = np.empty(mask.m, dtype=np.int64)
        places[outputs.reshape(-1)] = np.arange(mask.m)
        self.in_features, self.out_features, self._width = in_features, out_features, mask.n
        blocks = (len(inputs), outputs.shape[1], inputs.shape[1])
        self.weight = nn.Parameter(torch.empty(blocks, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_buffer("inputs", torch.as_tensor(inputs.astype(np.int64), device=device))
        self.register_buffer("places", torch.as_tensor(places[:out_features], device=device))


def _products(features: Features, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(K c, B): each of the (K, c, d) blocks `weight` times its (K, d) `inputs`, plus the (K, c) `bias`."""
    groups, outputs, degree = weight.shape
    taken = features.take(inputs.flatten()).view(groups, degree, -1)
    out = torch.bmm(weight, taken) if bias is None else torch.baddbmm(bias[:, :, None], weight, taken)
    return out.view(groups * outputs, -1)


def chain(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """What `modules` make of x one after the other, with one gather between SAOLinear layers.

    Elementwise activations (ELEMENTWISE) work on the features in the order that the layer before them left. Any other
    module, and one with hooks, is called as it is, on features in their own order.
    """
    features: Features | None = None
    for module in modules:
        if is_open(module, SAOLinear.forward):
            features = module.blocks(Features.of(x) if features is None else features)
        elif features is not None and type(module) in ELEMENTWISE and not _has_hooks(module):
            features = Features(module(features.values), *features[1:])
        else:
            x, features = module(x if features is None else features.batch()), None
    return x if features is None else features.batch()


def equal_groups(mask: Mask) -> tuple[Indices, Indices]:
    """((K, d) columns, (K, c) rows) of the K components K_{c,d} of `mask`, each ascending; SaoError for any other mask.

    O(nnz).
    """
    if (groups := mask.groups) is None:
        raise SaoError(
            f"this mask of {mask.m} x {mask.n} has a component that is not complete bipartite, and an SAO layer has "
            "only such; sparsify and prune keep any mask"
        )
    sides = []
    for name, labels in (("column", groups.columns), ("row", groups.rows)):
        if len(labels) and labels.min() < 0:
            dead = int(np.argmin(labels))
            raise SaoError(f"{name} {dead} of this mask of {mask.m} x {mask.n} is empty; an SAO layer has ones in each")
        sizes = np.bincount(labels, minlength=groups.count)
        if np.ptp(sizes):
            raise SaoError(
                f"the groups of this mask of {mask.m} x {mask.n} have from {sizes.min()} to {sizes.max()} {name}s; "
                "in an SAO layer all have as many"
            )
        sides.append(np.argsort(labels, kind="stable").reshape(groups.count, -1))
    return sides[0], sides[1]


def padded_sizes(m: int, n: int, degree: int) -> tuple[int, int]:
    """(m', n') with K = ceil(n/d), n' = K d and m' = K ceil(m/K): m and n where they are feasible for d = `degree`.

    Raises InfeasibleError for a degree outside 1 .. n.

    >>> padded_sizes(10, 30, 4)
    (16, 32)
    """
    check_target(m, n, d=degree)
    groups = -(-n // degree)
    return groups * -(-m // groups), groups * degree


def _same_sizes(m: int, n: int, _degree: int) -> tuple[int, int]:
    return m, n


def is_open(module: nn.Module, forward: Callable[..., Tensor]) -> bool:
    """Whether `module` runs this very `forward` and nobody listens, so that its inner steps may be taken instead."""
    return type(module).forward is forward and not _has_hooks(module)


def _has_hooks(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def current_tensor(linear: nn.Linear, name: str) -> Tensor | None:
    """The tensor that the next forward of `linear` will use; prune renews the attribute only then."""
    if hasattr(linear, f"{name}_orig"):
        return (getattr(linear, f"{name}_orig") * getattr(linear, f"{name}_mask")).detach()
    tensor: Tensor | None = getattr(linear, name)
    return None if tensor is None else tensor.detach()
