"""One run of a module, as a list of operations on numbered values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import is_out_of_memory
from sao_cli.nets.jacobians.functions import undisturbed

Bits: TypeAlias = Tensor  # of dtype bool, an entry a number
SOFTMAX = ("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
_FACTORIES = (  # what reads a tensor for its shape and type alone
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_full new_empty "
    "new_empty_strided zero fill"
)
FACTORIES = frozenset(_FACTORIES.split())


class Slot(NamedTuple):
    """The place of a value among an operation's arguments."""

    number: int


@dataclass(eq=False)
class Recorded:
    """A tensor as it was when it was made.

    `dynamic`: it depends on the network's inputs, as real numbers do, and whole ones that come straight from there.
    `nonzero` are the zero bits of a constant of real numbers, `chosen` what a tensor of whole numbers or truths held:
    indices, conditions. `choice` is the operation that made the latter of numbers that depend on the inputs: it stays
    as it went at the example. `layout` is the offset in the storage, and the stride along each axis.
    """

    shape: torch.Size
    layout: tuple[int, ...]
    device: torch.device
    is_real: bool
    dynamic: bool
    nonzero: Bits | None = None
    chosen: Tensor | None = None
    choice: str = ""
    finite: bool = True
    numbers: Tensor | None = None  # of a weight that the run computed


@dataclass(eq=False)
class Operation:
    """A call of an ATen operation: `operands` are the values that it reads, `outputs` those that it makes.

    In `args` and `kwargs` a Slot stands for each value. `path` is the name of the module that made the call, `kept`
    of a softmax where its operand was not minus infinity.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    operands: tuple[int, ...]
    outputs: tuple[int | None, ...]
    path: str
    kept: Tensor | None = None

    @property
    def name(self) -> str:
        """ATen's name without the overload, as in "addmm"; of an operation in place that of its copying twin."""
        return operation_name(self.function)

    def operand(self, name: str) -> int | None:
        """The value that is the argument `name` of ATen's schema."""
        for position, argument in enumerate(self.function._schema.arguments):
            if argument.name == name:
                given = self.args[position] if position < len(self.args) else self.kwargs.get(name)
                return given.number if isinstance(given, Slot) else None
        return None


@dataclass(eq=False)
class Recording:
    """The operations of a run, in the order run, and the numbers of what they read and make.

    `tensors` maps the names of parameters and buffers to values; tied ones share a number. `held` is what each value
    holds, until `keep` says what of it matters.
    """

    values: list[Recorded]
    operations: list[Operation]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: dict[str, int]
    parameters: frozenset[str]
    held: list[Tensor]

    def keep(self, numbers: Iterable[int]) -> None:
        """Keep what these values hold, and let go of all others, which a record needs no more."""
        for number in numbers if self.held else ():
            self.values[number].numbers = self.held[number]
        self.held = []


def record(module: nn.Module, inputs: Sequence[Tensor]) -> Recording:
    """What `module` did with `inputs` in eval mode, without gradients; the module is left as it was.

    The run is torch.func.functionalize's, so that what is written in place is read from where it was written. Each
    activation is held until the end of the run.

    Raises SaoError where the module can't take the inputs, draws random numbers, or gives no tensor of real numbers.
    """
    state = {name: tensor.detach().clone() for name, tensor in _named(module)}
    given = [one.detach().clone() for one in inputs]
    recorder = _Recorder(state, given)
    with undisturbed(module, _device(module, given)), _plain_kernels(), torch.no_grad():
        modes = {one: one.training for one in module.modules()}
        try:
            for one in modes:
                one.training = False
            with recorder.paths(module):
                answer = recorder.run(module, state, given)
        finally:
            for one, training in modes.items():
                one.training = training
    outputs = [one for one in tree_leaves(answer) if isinstance(one, Tensor) and one.is_floating_point()]
    if not outputs:
        raise FormatError(f"the module returns {type(answer).__name__}, and no tensor of real numbers in it")
    return Recording(
        values=recorder.values,
        operations=recorder.operations,
        inputs=tuple(recorder.numbers[id(one)] for one in given),
        outputs=tuple(dict.fromkeys(recorder.slot(one).number for one in outputs)),
        tensors={name: recorder.numbers[id(state[name])] for name in state},
        parameters=frozenset(name for name, _ in module.named_parameters()),
        held=recorder.held,
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The module that torch.compile or a parallel wrapper holds: its names are those of its checkpoints."""
    while True:
        held = getattr(module, "_orig_mod", None)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            held = module.module
        if not isinstance(held, nn.Module):
            return module
        module = held


class _Recorder(TorchDispatchMode):  # type: ignore[misc]
    """Sees every ATen operation of a run. Tensors are kept alive, since a number of one that is gone is used again."""

    def __init__(self, state: dict[str, Tensor], given: list[Tensor]) -> None:
        super().__init__()
        self.values: list[Recorded] = []
        self.operations: list[Operation] = []
        self.numbers: dict[int, int] = {}
        self.held: list[Tensor] = []
        self._made: list[int] = []  # of each value: how many operations there were before
        self._written: dict[int, int] = {}  # of each storage: the last operation that wrote into it
        self._running: list[str] = [""]
        for tensor in state.values():
            self._enter(tensor, False)
        for tensor in given:
            self._enter(tensor, True)

    def run(self, module: nn.Module, state: dict[str, Tensor], given: list[Tensor]) -> Any:
        """The module's answer."""
        random_state = torch.get_rng_state()

        def call(state: dict[str, Tensor], given: list[Tensor]) -> Any:
            return torch.func.functional_call(module, state, tuple(given))

        with self:
            try:
                answer = torch.func.functionalize(call)(state, given)
            except SaoError:
                raise
            except Exception as error:  # whatever the user's code raises
                if is_out_of_memory(error) or isinstance(error, MemoryError):
                    raise
                cause = next(iter(str(error).splitlines()), "") or type(error).__name__
                shapes = ", ".join("x".join(map(str, one.shape)) or "scalar" for one in given)
                raise SaoError(f"the module fails on an example of shape {shapes} ({cause})") from error
        if not torch.equal(random_state, torch.get_rng_state()):
            raise SaoError("the module draws random numbers in eval mode; its record would be one of many")
        return answer

    @contextlib.contextmanager
    def paths(self, root: nn.Module) -> Iterator[None]:
        """Follow which module is running, by hooks that are no module's own."""
        names = {one: name for name, one in root.named_modules()}

        def enter(one: nn.Module, _: Any) -> None:
            self._running.append(names.get(one, self._running[-1]))

        def leave(*_: Any) -> None:
            self._running.pop()

        handles = [
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def slot(self, tensor: Tensor) -> Slot:
        """The number of a tensor; one that comes from outside the run, as an attribute does, is a constant."""
        number = self.numbers.get(id(tensor))
        if number is None:
            return Slot(self._enter(tensor, False))
        if self._written.get(_storage(tensor), -1) > self._made[number]:
            where = self._running[-1] or "the module"
            raise SaoError(f"{where} reads a view of what was written in place since; use an operation that copies")
        return Slot(number)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tree = tree_map(lambda one: self.slot(one) if isinstance(one, Tensor) else one, (args, kwargs))
        operands = tuple(one.number for one in tree_leaves(tree, is_leaf=_is_slot) if _is_slot(one))
        name, path = operation_name(function), self._running[-1]
        kept = _kept(args[0]) if name in SOFTMAX else None
        with _onednn() if name == "convolution" else contextlib.nullcontext():
            made = function(*args, **kwargs)
        if name.startswith("unsafe_"):  # views that count as copies
            made = tree_map(torch.clone, made)
        for tensor in _written_by(function, args, kwargs):
            self._written[_storage(tensor)] = len(self.operations)
        outputs = self._entered(tree_leaves(made), name, path, [self.values[number] for number in operands])
        self.operations.append(Operation(function, tree[0], tree[1], operands, outputs, path, kept))
        return made

    def _entered(self, made: list[Any], name: str, path: str, operands: list[Recorded]) -> tuple[int | None, ...]:
        """The numbers of what an operation has made; None for what is no tensor."""
        dynamic = [one for one in operands if one.dynamic and name not in FACTORIES]
        told = told_of(path, name)
        numbers: list[int | None] = []
        for one in made:
            if not isinstance(one, Tensor):
                numbers.append(None)
                continue
            real = _is_real(one)
            carries = one.dtype is not torch.bool and not any(other.is_real for other in dynamic)
            numbers.append(self._enter(one, bool(dynamic) and (real or carries)))
            if dynamic and not (real or carries):
                self.values[-1].choice = told
            if name.startswith("empty"):  # whatever is there, all of it is written before it is read
                self.values[-1].nonzero, self.values[-1].finite = torch.zeros_like(one, dtype=torch.bool), True
        return tuple(numbers)

    def _enter(self, tensor: Tensor, dynamic: bool) -> int:
        layout = (tensor.storage_offset(), *tensor.stride())
        value = Recorded(tensor.shape, layout, tensor.device, _is_real(tensor), dynamic)
        with _disable_current_modes():
            if not value.is_real:
                value.chosen = tensor.clone()
            elif not dynamic:
                value.nonzero = tensor != 0
                value.finite = _is_finite(tensor)
        self.numbers[id(tensor)] = len(self.values)
        self.values.append(value)
        self.held.append(tensor)
        self._made.append(len(self.operations))
        return len(self.values) - 1


def operation_name(function: Any) -> str:
    """ATen's name without the overload, as in "addmm"; of an operation in place that of its copying twin."""
    name: str = function._schema.name.removeprefix("aten::")
    return name.rstrip("_") if function._schema.is_mutable else name


def told_of(path: str, name: str) -> str:
    """An operation for people: which, and in which module."""
    return f"{path}: {name}" if path else name


def _is_finite(tensor: Tensor) -> bool:
    """Whether no number is nan or infinite; minus infinity is what masks hold. A sum tells most of them at once."""
    return bool(torch.isfinite(tensor.sum())) or not bool((torch.isnan(tensor) | (tensor == torch.inf)).any())


def _is_real(tensor: Tensor) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _kept(tensor: Tensor) -> Tensor | None:
    """Where a softmax reads its operand, None for everywhere."""
    with _disable_current_modes():
        kept = tensor != -torch.inf
        return None if bool(kept.all()) else kept


def _is_slot(one: Any) -> bool:
    return isinstance(one, Slot)


def _written_by(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    if not function._schema.is_mutable or torch.Tag.inplace_view in function.tags:
        return
    for position, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from (one for one in tree_leaves(given) if isinstance(one, Tensor))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _named(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _device(module: nn.Module, given: Sequence[Tensor]) -> torch.device:
    return next((tensor.device for _, tensor in _named(module)), given[0].device)


@contextlib.contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without kernels that do several operations in one: oneDNN's recurrent layers, the fast path of attention."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _onednn(False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextlib.contextmanager
def _onednn(enabled: bool = True) -> Iterator[None]:
    """With oneDNN or without it. Not by torch's own flags(), which warn of what they set beside it."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = enabled
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before
