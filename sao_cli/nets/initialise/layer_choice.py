"""The layers of a model that can be made sparse, and why the others can't or shall not be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from sao_cli.base.errors import FormatError, SaoError, unknown_name
from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import Matrix
from sao_cli.nets.initialise.kernels import check_kernel
from sao_cli.nets.initialise.matrices import check_matrix
from sao_cli.nets.initialise.matrix_parts import MatrixPart, held, matrix_parts

Skip = str | Iterable[str] | Callable[[str, nn.Module], bool]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
KINDS = (nn.Linear, *CONVOLUTIONS)


@dataclass
class ModelLayer:
    """A module, or a `part` of it, on its way: `weight` once it is built, `reason` where it is skipped."""

    name: str
    module: nn.Module
    part: MatrixPart | None = None
    weight: Matrix | Kernel | None = None
    reason: str | None = None

    @property
    def kind(self) -> str | None:
        if self.part is not None:
            return type(self.module).__name__
        return next((kind.__name__ for kind in KINDS if isinstance(self.module, kind)), None)

    @property
    def tensor(self) -> torch.Tensor | None:
        """The parameter; None where it is computed."""
        return held(self.module, "weight" if self.part is None else self.part.parameter)

    @property
    def shape(self) -> tuple[int, int]:
        if self.part is not None:
            assert self.tensor is not None
            m, n = self.part.of(self.tensor).shape
            return m, n
        if isinstance(self.module, nn.Linear):
            return self.module.out_features, self.module.in_features
        return self.module.out_channels, self.module.in_channels

    @property
    def kernel(self) -> tuple[int, ...] | None:
        return tuple(self.module.kernel_size) if isinstance(self.module, CONVOLUTIONS) else None


def chosen_layers(model: nn.Module, skip: Skip | None) -> list[ModelLayer]:
    """Every layer of `model`, and every other module with such weights: with a `reason` where it is skipped.

    `skip` is that of sparsify. SaoError for a name that no module has. O(modules).

    >>> [(layer.name, layer.reason) for layer in chosen_layers(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), ())]
    [('0', None)]
    """
    layers = [layer for name, module in model.named_modules() for layer in _layers_of(name, module)]
    _skip_what_cannot(model, layers)
    _skip_what_is_told(model, layers, skip)
    return layers


def _layers_of(name: str, module: nn.Module) -> list[ModelLayer]:
    if parts := matrix_parts(module):
        return [
            ModelLayer(f"{name}.{part.name}".lstrip(".") if len(parts) > 1 else name, module, part) for part in parts
        ]
    return [ModelLayer(name, module)] if _holds_matrix(module) else []


def _holds_matrix(module: nn.Module) -> bool:
    parameters = module._parameters.values()
    return isinstance(module, KINDS) or any(
        parameter is not None and (nn.parameter.is_lazy(parameter) or parameter.ndim >= 2) for parameter in parameters
    )


def _skip_what_cannot(model: nn.Module, layers: list[ModelLayer]) -> None:
    """Write down why where a layer can't be made sparse."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name.rpartition(".")[0])
    modules = dict(model.named_modules(remove_duplicate=False))
    for layer in layers:
        layer.reason = _obstacle(layer) or _tie(layer, owners, modules)


def _obstacle(layer: ModelLayer) -> str | None:
    module = layer.module
    if layer.kind is None:
        return f"{type(module).__name__} is no nn.Linear or convolution"
    if isinstance(module, CONVOLUTIONS) and module.groups != 1:
        return f"a convolution of {module.groups} groups; those with groups=1 are made sparse"
    weight = layer.tensor
    if weight is None:
        return "its weight is computed from other parameters"
    if nn.parameter.is_lazy(weight):
        return "a lazy module, without sizes until its first forward"
    if weight.is_meta:
        return "on the meta device, where nothing is stored"
    try:
        (check_kernel if isinstance(module, CONVOLUTIONS) else check_matrix)(weight)
    except FormatError as error:
        return str(error)
    return None


def _tie(layer: ModelLayer, owners: dict[int, list[str]], modules: dict[str, nn.Module]) -> str | None:
    """Why not, where another module (and not the same one by another name) holds the weight too."""
    others = [name for name in owners[id(layer.tensor)] if modules[name] is not layer.module]
    return f"its weight is shared with {others[0]!r}" if others else None


def _skip_what_is_told(model: nn.Module, layers: list[ModelLayer], skip: Skip | None) -> None:
    ours = [layer for layer in layers if layer.kind]
    if skip is None:
        told = {one.name: f"the last nn.{one.kind}" for one in ours if one.module is ours[-1].module}
        told |= {one.name: f"the first nn.{one.kind}" for one in ours if one.module is ours[0].module}
    elif callable(skip):
        told = {layer.name: "as `skip` says" for layer in ours if skip(layer.name, layer.module)}
    else:
        names = [skip] if isinstance(skip, str) else list(skip)
        known = dict(model.named_modules(remove_duplicate=False))
        for name in names:
            if name not in known:
                raise SaoError(unknown_name("unknown layer", name, known))
        inside = {id(module): f"as `skip` says: {name!r}" for name in names for module in known[name].modules()}
        told = {layer.name: inside[id(layer.module)] for layer in ours if id(layer.module) in inside}
    for layer in ours:
        layer.reason = layer.reason or told.get(layer.name)
