"""The weights of a module as its run used them: which way round, and on what images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.kernel import Kernel, swapped_channels
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.measure.convolution.kernel_spectrum import Convolution
from sao_cli.models.audit.tensor import Layer
from sao_cli.nets.jacobians.functions import named_tensors
from sao_cli.nets.tracing.calls import PRODUCTS
from sao_cli.nets.tracing.recording import Recording, record, unwrapped
from sao_cli.nets.tracing.weight_uses import NetworkWeight, WeightUse, network_weights

_SWAPPED = ("t", "transpose", "permute")
_UNEVEN = "its padding differs by axis or end: no map is measured"


@dataclass(frozen=True, eq=False, kw_only=True)
class UsedWeight:
    """A weight as its first use had it: the `numbers` as they are stored, born in `dtype` (bfloat16 held as float32).

    `transposed` ones are stored with their inputs first; `groups` are of channels. `geometry` is the `image`, `stride`,
    `padding` and `dilation` of a convolution, None of a matrix. `reason` says why it can't be measured as one map,
    "" where it can; `gap` why its image can't be told, "" where it can, or there is none.
    """

    name: str
    numbers: NDArray[Any]
    dtype: str
    transposed: bool
    groups: int = 1
    geometry: dict[str, Any] | None = None
    reason: str = ""
    gap: str = ""

    @property
    def kind(self) -> str:
        """ "matrix" or "kernel"."""
        return "matrix" if self.numbers.ndim == 2 else "kernel"

    def mask(self) -> Mask:
        """Which outputs (rows) read which inputs (columns): (m, n), of a kernel all of its channels.

        Raises FormatError for what is no weight of finite numbers, MemoryLimitError.
        """
        self._require()
        layer = Layer.of(self.numbers, dtype=self.dtype, threshold=0.0, groups=self.groups, transposed=self.transposed)
        return layer.pattern.to_mask()

    def map(self, dtype: str | None = None) -> Matrix | Convolution:
        """The linear map that it is: a Matrix (m, n), or a Convolution; rounded to `dtype` unless it is None.

        Raises FormatError where it is none, or where a number is not finite.
        """
        self._require()
        if self.geometry is None:
            dense = swapped_channels(self.numbers) if self.transposed else self.numbers
            return Matrix.from_dense(dense, where=self.name, dtype=self.dtype).as_dtype(dtype)
        if self.gap:
            raise FormatError(self.gap)
        kernel = Kernel.from_dense(self.numbers, where=self.name, dtype=self.dtype).as_dtype(dtype)
        return Convolution(kernel, **self.geometry, groups=self.groups, transposed=self.transposed)

    def _require(self) -> None:
        if self.reason:
            raise FormatError(self.reason)


def weights_as_used(module: nn.Module, *inputs: Tensor) -> list[UsedWeight]:
    """The weights that one run on `inputs` multiplied with what depends on them, in the order run.

    Raises what Network.from_module does where it records. Cost: a forward pass, and the memory of its activations.
    """
    if not inputs:
        raise SaoError("weights are told as they ran on an example input: weights_as_used(module, x)")
    module = unwrapped(module)
    module = unwrapped(module)
    recording = record(module, inputs)
    weights = network_weights(recording)
    recording.keep({weight.root for weight in weights} - set(recording.tensors.values()))
    return [used_weight(module, recording, weight) for weight in weights]


def used_weight(module: nn.Module, recording: Recording, weight: NetworkWeight) -> UsedWeight:
    """One weight of a record of `module`."""
    numbers = _numbers(module, recording, weight).cpu()
    dtype = str(numbers.dtype).removeprefix("torch.")
    use = weight.uses[0]
    told: dict[str, Any] = {"transposed": _is_inputs_first(use)}
    if use.operation.name == "convolution":
        told = _convolution(use, recording)
    elif numbers.ndim != 2:
        told |= {"reason": f"{numbers.ndim} axes: a product of blocks, which is not one matrix"}
    array = (numbers.float() if dtype == "bfloat16" else numbers).numpy()
    return UsedWeight(name=weight.name, numbers=array, dtype=dtype, **told)


def _numbers(module: nn.Module, recording: Recording, weight: NetworkWeight) -> Tensor:
    """The weight as it ran: a parameter or buffer of the module, or what the run computed."""
    computed = recording.values[weight.root].numbers
    if computed is not None:
        return computed
    name = next(name for name, number in recording.tensors.items() if number == weight.root)
    return dict(named_tensors(module))[name].detach()


def _is_inputs_first(use: WeightUse) -> bool:
    """Whether a matrix, (rows, columns), has a row an input, by the views that lead to the product and its side."""
    swaps = sum(_swaps(view.name, view.args) for view in use.views)
    comes_first = use.operation.operand(PRODUCTS[use.operation.name][0]) == use.factor
    return comes_first == bool(swaps % 2)


def _swaps(name: str, args: Sequence[Any]) -> bool:
    if name not in _SWAPPED:
        return False
    if name == "permute":
        return list(args[1])[-2:] != sorted(args[1])[-2:]
    return True


def _convolution(use: WeightUse, recording: Recording) -> dict[str, Any]:
    """What the run tells of a convolution."""
    _, _, _, stride, padding, dilation, transposed, output_padding, groups = use.operation.args[:9]
    sizes = {"image": recording.values[use.data].shape[2:], "stride": stride, "dilation": dilation}
    geometry: dict[str, Any] = {key: tuple(map(int, values)) for key, values in sizes.items()}
    uneven = len(set(padding)) > 1 or any(output_padding)
    geometry |= {"image": None, "padding": 0} if uneven else {"padding": int(padding[0])}
    told: dict[str, Any] = {"transposed": bool(transposed), "groups": int(groups), "geometry": geometry}
    return told | {"gap": _UNEVEN if uneven else ""}
