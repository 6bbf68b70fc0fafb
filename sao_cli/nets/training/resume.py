"""A training run as arrays by name, from which it goes on to the same result as one that was never interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sao_cli.base.errors import FormatError
from sao_cli.nets.initialise.matrices import dtype_name
from sao_cli.nets.layers.linear import SparseLinear
from sao_cli.nets.layers.rare_linear import FACTORS, RareLinear
from sao_cli.nets.networks.lipconvnet import LipConvNet
from sao_cli.nets.training.methods import dense_weight_of, mask_

Array = NDArray[Any]

MODEL, MASK = "model.", ".weight_mask"
HELD = {"momentum_buffer": "momentum.", "exp_avg": "exp_avg.", "exp_avg_sq": "exp_avg_sq.", "step": "step."}
LINEAR = (nn.Linear, SparseLinear)


class Made(NamedTuple):
    """A tensor that is computed only when it is written: its shape, torch's name of its dtype, and how."""

    shape: tuple[int, ...]
    dtype: str
    make: Callable[[], Tensor]


@dataclass(frozen=True)
class TrainingState:
    """All that a run needs to go on: its tensors, which the next step changes, and the rows of the epochs done.

    Tensors are `model.NAME`, the network's state dict, and what the optimizer holds of each parameter: `momentum.NAME`
    of SGD, `exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME` of Adam.
    There is no random state: the order of an epoch follows from the seed and its number.
    """

    tensors: Mapping[str, Tensor]
    rows: list[dict[str, Any]]

    @property
    def metadata(self) -> dict[str, str]:
        """The rows as a safetensors file keeps them, and read_rows reads them."""
        return {"rows": json.dumps(self.rows, allow_nan=False)}


def read_rows(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows in a checkpoint's metadata. Raises FormatError where there are none.

    >>> read_rows(TrainingState({}, [{"epoch": 0}]).metadata)
    [{'epoch': 0}]
    """
    try:
        rows = json.loads(metadata["rows"])
        if [row["epoch"] for row in rows] == list(range(len(rows))) and rows:
            return list(rows)
    except (KeyError, ValueError, TypeError):
        pass
    raise FormatError("its metadata does not tell the epochs that are done; it is no checkpoint of a run")


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of a TrainingState, as they are and where they are."""
    found = {f"{MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        held = optimizer.state.get(parameter, {})
        found |= {f"{prefix}{name}": held[key] for key, prefix in HELD.items() if held.get(key) is not None}
    return found


def restore_(model: nn.Module, make_optimizer: Callable[[], Any], tensors: Mapping[str, Array]) -> Any:
    """Put the tensors of a TrainingState back into `model`, in place; gives back the optimizer with what it held.

    Layers that were pruned in training get their masks first. Raises FormatError for tensors of another network.
    """
    modules = dict(model.named_modules())
    for name in tensors:
        if name.startswith(MODEL) and name.endswith(MASK):
            layer = modules.get(name.removeprefix(MODEL).removesuffix(MASK))
            if layer is not None and not hasattr(layer, "weight_mask"):
                mask_(layer, _tensor(tensors[name]) != 0)
    state = {name.removeprefix(MODEL): _tensor(one) for name, one in tensors.items() if name.startswith(MODEL)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise FormatError(f"the checkpoint is of another network: {' '.join(str(error).split())[:200]}") from error
    optimizer = make_optimizer()
    for name, parameter in model.named_parameters():
        held = {key: tensors[f"{prefix}{name}"] for key, prefix in HELD.items() if f"{prefix}{name}" in tensors}
        for key, array in held.items():
            _require_shape(name, () if key == "step" else tuple(parameter.shape), array)
            tensor = _tensor(array)  # a count of steps stays where the optimizer has it, on the CPU
            optimizer.state[parameter][key] = tensor if key == "step" else tensor.to(parameter)
    return optimizer


def final_tensors(model: nn.Module) -> dict[str, Made]:
    """The trained network as plain tensors, each made when it is written: NAME.weight dense, with exact zeros.

    So an FNN's load into FNN(..., method="dense"), a CNN's into CNN(..., method="dense"), and both into any torch
    modules of these names and shapes; no mask and no block is left to be known of. The layers of a LipConvNet are
    computed from parameters, and its tensors are its state dict. Of a RareLinear they are W', smaller, and the indices
    and scales of P and Q, as of RareLinear.factors.

    >>> from sao_cli.nets import FNN
    >>> tensors = final_tensors(FNN(3, (16, 8, 4), degree=2, layers="blocks"))
    >>> list(tensors)[:3], tensors["net.2.weight"].make().shape
    (['net.0.weight', 'net.0.bias', 'net.2.weight'], torch.Size([8, 8]))
    """
    if isinstance(model, LipConvNet):
        return {name: _as_it_is(tensor) for name, tensor in model.state_dict().items()}
    found: dict[str, Made] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, RareLinear):
            found |= _factors(name, layer)
        elif "bias" in layer._parameters:
            sizes = (layer.out_features, layer.in_features) if isinstance(layer, LINEAR) else _kernel_shape(layer)
            found[f"{name}.weight"] = Made(sizes, dtype_name(layer.bias), partial(dense_weight_of, layer))
            found[f"{name}.bias"] = _as_it_is(layer.bias)
    return found


def _factors(name: str, layer: RareLinear) -> dict[str, Made]:
    """W' with its normalisation in it, the indices and scales of P and Q, and the bias: what `sao reduce` writes."""
    made = Made(layer.shape, dtype_name(layer.weight), lambda: layer.to_core().detach())
    others = {one: getattr(layer, one) for one in (*FACTORS, "bias")}
    return {f"{name}.weight": made, **{f"{name}.{one}": _as_it_is(tensor) for one, tensor in others.items()}}


def _kernel_shape(layer: nn.Module) -> tuple[int, ...]:
    return (layer.out_channels, layer.in_channels, *layer.kernel_size)


def _as_it_is(tensor: Tensor) -> Made:
    return Made(tuple(tensor.shape), dtype_name(tensor), tensor.detach)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array))  # a copy: arrays of a file may be read-only, and begin anywhere


def _require_shape(name: str, shape: tuple[int, ...], held: Array) -> None:
    if held.shape != shape:
        raise FormatError(f"the checkpoint is of another network: what is held of {name!r} has shape {held.shape}")
