"""A module as a function of the weights that are scored, which leaves the module itself as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.nets.jacobians.functions import called, dtype_name, named_tensors, undisturbed

Weights = dict[str, Tensor]

_LAYERS = (nn.Linear, _ConvNd)
_NORMS = (nn.modules.batchnorm._NormBase,)


class ScoredModule:
    """The weights of all linear and convolution layers of `model`, and what it computes with others in their places.

    `weights` holds their values by name ("0.weight"), detached: where prune has put a mask, what is left; where one is
    parametrised, what it computes. A weight that two layers share is one. With `biases` their biases are there too.
    `places` tells module and attribute of each.

    Numbers are computed in `dtype`, by default the module's own, float32 at the least. Raises SaoError for a module
    without such layers and for weights without values, FormatError for weights that are no finite real numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        biases: bool = False,
        train_mode: bool = False,
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.train_mode, self._dtype, self._seed = model, train_mode, dtype, seed
        self._state = {name: self._cast(tensor) for name, tensor in named_tensors(model)}
        self.weights: Weights = {}
        self.places: dict[str, tuple[nn.Module, str]] = {}
        self._parameters: dict[str, str] = {}  # of each weight that is a parameter, under its own name
        self._computed: dict[int, str] = {}  # the weight that a parametrisation computes, by its identity
        self._take_all(("weight", "bias") if biases else ("weight",))
        self.device = next(iter(self.weights.values())).device

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the module ready to run, in evaluation mode; then it is again what it was, and so are random states.

        With `train_mode` its batch norms use each batch's own statistics; dropout is off all the same.
        """
        with undisturbed(self.model, self.device):
            self._seed_here()
            self.model.eval()
            for one in self.model.modules():
                if self.train_mode and isinstance(one, _NORMS):
                    one.training = True
            yield

    def run(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The module's output for the inputs `x`, with `weights` in the places of its own."""
        state = {
            **self._state,
            **{self._parameters[name]: one for name, one in weights.items() if name in self._parameters},
        }

        def computed(module: nn.Module, _: Any, output: Any) -> Any:
            return weights.get(self._computed.get(id(module), ""), output)

        handle = nn.modules.module.register_module_forward_hook(computed) if self._computed else None
        try:
            return called(lambda point: torch.func.functional_call(self.model, state, (point,)), x)
        finally:
            if handle is not None:
                handle.remove()

    def inputs(self, x: Any) -> Tensor:
        """`x` where and as the module reads it: real numbers in its dtype, whole ones as they are."""
        given = torch.as_tensor(x).to(self.device)
        if given.is_floating_point():
            given = given.to(next(iter(self.weights.values())).dtype)
        return given

    def _seed_here(self) -> None:
        """Begin the random numbers of this device anew: torch.manual_seed would those of all, which stay so."""
        torch.default_generator.manual_seed(self._seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(self._seed)

    def _cast(self, tensor: Tensor) -> Tensor:
        """The values, of floating-point numbers in the dtype to compute in; buffers that a run changes are copies."""
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise SaoError("a parameter has no values yet; load them, or call the lazy module once first")
        if not tensor.is_floating_point():
            return tensor.detach().clone()
        small = tensor.dtype.itemsize < 4
        wanted = self._dtype or (torch.float32 if small else tensor.dtype)
        cast = tensor.detach().to(wanted)
        return cast if isinstance(tensor, nn.Parameter) else cast.clone()

    def _take_all(self, attributes: tuple[str, ...]) -> None:
        names = {id(one): name for name, one in self.model.named_parameters()}
        seen: set[int] = set()
        for place, module in self.model.named_modules():
            for attribute in attributes if isinstance(module, _LAYERS) else ():
                self._take(place, module, attribute, names, seen)
        if not self.weights:
            raise SaoError(f"{type(self.model).__name__} has no linear or convolution layer, whose weights are scored")
        for name, one in self.weights.items():
            if not one.is_floating_point():
                raise FormatError(f"{name} is {dtype_name(one)}; scores are of real numbers: dequantise it first")
            if not torch.isfinite(one).all():
                raise FormatError(f"{name} holds numbers that are not finite; every weight must be finite")

    def _take(self, place: str, module: nn.Module, attribute: str, names: dict[int, str], seen: set[int]) -> None:
        name = f"{place}.{attribute}" if place else attribute
        own = module._parameters
        if parametrize.is_parametrized(module, attribute):
            made = module.parametrizations[attribute]
            if id(made) not in seen:
                self._computed[id(made)] = name
                self.weights[name] = self._cast(getattr(module, attribute)).clone()
            seen.add(id(made))
        elif (parameter := own.get(attribute, own.get(f"{attribute}_orig"))) is not None:
            if id(parameter) in seen:
                return
            seen.add(id(parameter))
            self._parameters[name] = names[id(parameter)]
            value = self._state[self._parameters[name]]
            mask = module._buffers.get(f"{attribute}_mask")
            self.weights[name] = value if mask is None else value * mask.to(value.dtype)
        elif f"{attribute}_v" in own:
            raise SaoError(
                f"{name} has the old weight_norm; put torch.nn.utils.parametrizations.weight_norm in its place"
            )
        else:
            return
        self.places[name] = (module, attribute)
