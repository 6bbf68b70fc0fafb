"""Sparse layers in a given model: weights by a method's name, and masks as torch.nn.utils.prune keeps them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli import catalog
from sao_cli.base.errors import InfeasibleError, SaoError, SaoWarning
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check, load
from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import Matrix
from sao_cli.masks.degrees import density_of, kept_of_stack
from sao_cli.nets.initialise.kernels import fill_kernel_, kernel_of
from sao_cli.nets.initialise.layer_choice import ModelLayer, Skip, chosen_layers
from sao_cli.nets.initialise.matrices import (
    check_gain,
    drawn_seed,
    dtype_name,
    fill_,
    places,
    whole_degree,
)
from sao_cli.nets.initialise.matrix_parts import MatrixPart, hold_masks_, is_pruned, put_parts_
from sao_cli.reports.networks import SparsifiedLayer
from sao_cli.weights.build_weights import METHODS, weight_stack


def sparsify(
    model: nn.Module,
    method: str = "sao",
    sparsity: float | None = None,
    degree: int | None = None,
    *,
    skip: Skip | None = None,
    values: str | None = None,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    strict: bool = False,
    overall: bool = False,
) -> list[SparsifiedLayer]:
    """A SparsifiedLayer for every linear layer and convolution of `model`, and for all other modules with such weights.

    Each nn.Linear, nn.Conv1d, 2d and 3d that is not skipped gets, in place, new weights as initialize_ gives them one
    after the other with this `generator`, and their mask by torch.nn.utils.prune.custom_from_mask: the parameter
    `weight` becomes `weight_orig`, the same object, so that optimisers keep it, and the buffer `weight_mask` is 1
    where there is a weight. prune.remove(layer, "weight") makes it permanent. Biases and all other modules stay as
    they are.

    `method`, `values`, `gain`, `degree` and `sparsity` are those of initialize_; a target sparsity gives each layer
    its nearest feasible degree. `gmp` counts over all these layers together, masks.degrees.kept_of_stack.
    `radix` builds successive layers whose sizes chain as one RadiX-Net; a convolution is one by itself.

    A convolution of c_out = m and c_in = n channels is sparse by whole kernels: its mask is that of an (m, n) layer,
    and all taps of a kept kernel may be trained. By the delta scheme the weights of that layer, whatever the method,
    are the centre taps, and all other taps 0: SAO-Delta for `sao` (SAO, section IV-C). Random values are on all k^D
    taps, of variance 1/(d k^D). These are the kernels of kernel_.

    Matrices that are parts of other modules are layers too: the projections of queries, keys and values in
    nn.MultiheadAttention's in_proj_weight, and its output projection, whose mask is then applied before each forward of
    the attention; the gates of nn.LSTM, nn.GRU and nn.RNN, each by itself; and Conv1D of GPT-2, whose inputs come
    first. Each has a row, as `encoder.in_proj_weight.q`, and the mask is of the whole parameter: in_proj_weight_mask.
    So each mask is a buffer whose name contains "mask", and load_pruned_ loads the state into a fresh model.

    With `overall` the target sparsity is that of the weights of all these layers together, those that stay dense too.

    `skip` names layers (and with them all modules inside), or is a predicate of name and module; () skips none. Unless
    told, the first and the last of all these layers stay dense. The paper leaves its CNNs' first convolution and linear
    layers unpruned (SAO, section IV-C); that its fully-connected networks do the same is our reading.

    Skipped too, with the reason: convolutions of several groups; layers whose weight another module shares (tied), is
    computed (weight_norm and other parametrisations) or lives nowhere yet (lazy modules, the meta device); and
    sizes that are infeasible for the method, or where nothing sparser than all ones is feasible. A layer pruned before
    gets the new mask in place of the old. All weights are built before any is written: an error leaves the model as it
    was.

    Raises SaoError for unknown names and options that do not go together; with `strict` also for the infeasible sizes,
    naming the layer, and where no layer is made sparse, of which else a SaoWarning tells. The method's cost a layer,
    and O(m n), times k^D, to write.

    >>> model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10))
    >>> for row in sparsify(model, "sao", sparsity=0.9):
    ...     print(row.name, row.d, row.sparsity, row.reason)
    0 None None the first nn.Linear
    2 4 0.875 None
    4 None None the last nn.Linear
    """
    degree = _checked_request(method, sparsity, degree, gain, values)
    layers = chosen_layers(model, skip)
    target = _of_those_left(layers, sparsity) if overall else sparsity
    _build(layers, method, {"d": degree, "sparsity": target}, values, gain, generator, strict)
    _require_some(layers, strict)
    require_masks([tensor for layer in layers if layer.weight is not None and (tensor := layer.tensor) is not None])
    _put(layers)
    hold_masks_(model)
    return [_row(layer, method, target) for layer in layers]


def _of_those_left(layers: list[ModelLayer], sparsity: float | None) -> float | None:
    """The sparsity of the layers that are made sparse, by which that of all layers together is what was asked for."""
    if sparsity is None:
        raise SaoError("overall is of a sparsity; give one")
    sizes = [(layer.reason is None, _numbers(layer)) for layer in layers if layer.kind]
    whole, sparse = sum(size for _, size in sizes), sum(size for left, size in sizes if left)
    if sparse and sparsity * whole >= sparse:
        most = sparse / whole
        told = f"{whole - sparse} of {whole} weights stay dense"
        raise InfeasibleError(f"no overall sparsity {sparsity}: {told}, so that it is below {most:.6g}; skip fewer")
    return sparsity * whole / sparse if sparse else sparsity


def _numbers(layer: ModelLayer) -> int:
    tensor = layer.tensor
    if tensor is None or nn.parameter.is_lazy(tensor):
        return 0
    return math.prod(tensor.shape if layer.part is None else layer.shape)


def _put(layers: list[ModelLayer]) -> None:
    """Give modules the weights of their layers, and parameters those of their parts together."""
    parts: dict[tuple[nn.Module, str], dict[MatrixPart, Matrix]] = {}
    for layer in layers:
        if layer.part is not None and isinstance(layer.weight, Matrix):
            parts.setdefault((layer.module, layer.part.parameter), {})[layer.part] = layer.weight
        elif layer.weight is not None:
            put_weight_(layer.module, layer.weight)
    for (module, parameter), weights in parts.items():
        put_parts_(module, parameter, weights)


def put_weight_(module: nn.Module, weight: Matrix | Kernel) -> None:
    """Give an nn.Linear or convolution the weights, and their mask by torch.nn.utils.prune unless it is all ones.

    A Matrix (m, n) is for nn.Linear, a Kernel of the weight's shape for a convolution, whose mask has its shape too.
    What pruned it before is gone. The parameter stays the same object. O(weights).

    >>> from sao_cli.weights.orthogonal import sao_weight
    >>> linear = nn.Linear(4, 4)
    >>> put_weight_(linear, sao_weight(4, 4, 2))
    >>> sorted(linear.state_dict())
    ['bias', 'weight_mask', 'weight_orig']
    """
    if is_pruned(module):
        prune.remove(module, "weight")
    if isinstance(weight, Kernel):
        fill_kernel_(module.weight, weight)
    else:
        fill_(module.weight, weight)
    if weight.mask.sparsity == 0:
        return
    mask = torch.zeros_like(module.weight, dtype=torch.bool)
    mask[places(Matrix(weight.mask), mask.device)] = True
    # Without a graph, of which `weight` would be a part until the first forward: torch can't deep-copy that.
    with torch.no_grad():
        prune.custom_from_mask(module, "weight", mask)


def effective_weight(module: nn.Module) -> torch.Tensor:
    """The weight that `module`'s next forward uses, detached: weight_orig times weight_mask where it is pruned.

    torch.nn.utils.prune computes `module.weight` in the forward alone, so that after an optimiser's step it is stale.

    >>> bool((effective_weight(layer := nn.Linear(3, 2)) == layer.weight).all())
    True
    """
    weight: torch.Tensor = module.weight_orig * module.weight_mask if is_pruned(module) else module.weight
    return weight.detach()


def require_masks(weights: Sequence[torch.Tensor]) -> None:
    """Raise MemoryLimitError where the masks and masked copies of these weights would not fit on the CPU.

    >>> require_masks([torch.empty(4, 4)])
    """
    needed = sum(2 * weight.numel() * weight.element_size() for weight in weights if weight.device.type == "cpu")
    require_memory(needed, f"the masks of {len(weights)} layers", "sparsify fewer of them, or use layers without masks")


def _checked_request(
    method: str, sparsity: float | None, degree: int | None, gain: float, values: str | None
) -> int | None:
    """`degree`; what is wrong for every layer is an error, and no reason to skip them all."""
    check("method", method, METHODS)
    degree = whole_degree(degree)
    if degree is not None and degree < 1:
        raise InfeasibleError(f"degree {degree}: a row has at least one weight")
    if degree is not None and sparsity is not None:
        raise SaoError("degree and sparsity each fix the density; give one of them")
    if sparsity is not None:
        density_of(sparsity)
    check_gain(gain)
    if values is not None and not catalog.METHODS[method].any_values:
        raise SaoError(f"method {method!r} has values of its own, not {values!r}")
    return degree


def _build(
    layers: list[ModelLayer],
    method: str,
    target: dict[str, Any],
    values: str | None,
    gain: float,
    generator: torch.Generator | None,
    strict: bool,
) -> None:
    """Give each layer that is not skipped its weight, or the reason why none is feasible."""
    for run in _runs([layer for layer in layers if layer.reason is None], method):
        seed = drawn_seed(generator)
        try:
            if _compete(catalog.METHODS[method]):
                weights = _competing(method, [layer.shape for layer in run], target, gain, seed)
            else:
                widths = [run[0].shape[1], *(layer.shape[0] for layer in run)]
                weights = weight_stack(widths, method=method, values=values, gain=gain, seed=seed, **target)
            _require_sparser(weights, method, target["sparsity"])
        except InfeasibleError as error:
            if strict:
                raise InfeasibleError(f"layer {run[0].name!r}: {error}") from error
            for layer in run:
                layer.reason = str(error)
        else:
            for layer, weight in zip(run, weights, strict=True):
                built = weight if layer.kernel is None else kernel_of(weight, layer.kernel, gain=gain, seed=seed)
                assert layer.tensor is not None
                layer.weight = built.as_dtype(dtype_name(layer.tensor))


def _runs(layers: list[ModelLayer], method: str) -> list[list[ModelLayer]]:
    """The layers in the groups that are built together: each alone, unless the method looks at several."""
    row = catalog.METHODS[method]
    if _compete(row):
        return [layers] if layers else []
    runs: list[list[ModelLayer]] = []
    for layer in layers:
        if row.whole_stack and runs and _chain(runs[-1][-1], layer):
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return runs


def _chain(first: ModelLayer, second: ModelLayer) -> bool:
    apart = first.part is not None or second.part is not None or bool(first.kernel or second.kernel)
    return not apart and first.shape[0] == second.shape[1]


def _compete(row: catalog.Method) -> bool:
    """Whether all layers share one number of weights; they need not chain."""
    return bool(row.weight) and row.whole_stack


def _competing(
    method: str, shapes: Sequence[tuple[int, int]], target: dict[str, Any], gain: float, seed: int
) -> list[Matrix]:
    stack = load(catalog.METHODS[method].weight)(shapes, kept_of_stack(shapes, **target), seed=seed)
    return [Matrix(layer.mask, gain * layer.values) for layer in stack if layer.values is not None]


def _require_sparser(weights: list[Matrix], method: str, sparsity: float | None) -> None:
    for weight in weights:
        if sparsity and not catalog.METHODS[method].full and weight.mask.sparsity == 0:
            m, n = weight.shape
            fitting = [row.name for row in catalog.METHODS.values() if (row.keeps or row.varied) and not _compete(row)]
            raise InfeasibleError(
                f"of the {method} masks of {m} x {n} the nearest to sparsity {sparsity} is all ones; "
                f"{', '.join(fitting)} fit any sizes"
            )


def _require_some(layers: list[ModelLayer], strict: bool) -> None:
    if any(layer.weight is not None for layer in layers):
        return
    ours = [layer for layer in layers if layer.kind]
    why = f"{ours[0].name!r}: {ours[0].reason}" if ours else "it holds no nn.Linear and no convolution"
    text = f"no layer of the model was made sparse ({why}); skip=() leaves out none of them"
    if strict:
        raise SaoError(text)
    warnings.warn(text, SaoWarning, stacklevel=3)


def _row(layer: ModelLayer, method: str, sparsity: float | None) -> SparsifiedLayer:
    m, n = layer.shape if layer.kind else (None, None)
    what: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "m": m, "n": n, "kernel": layer.kernel}
    if layer.weight is None:
        return SparsifiedLayer(**what, skipped=True, reason=layer.reason)
    mask = layer.weight.mask
    return SparsifiedLayer(
        **what,
        method=method,
        d=_only(mask.row_degrees),
        c=_only(mask.column_degrees),
        sparsity=mask.sparsity,
        requested_sparsity=sparsity,
    )


def _only(degrees: Any) -> int | None:
    """The degree that all have, or None."""
    return int(degrees[0]) if (degrees == degrees[0]).all() else None
