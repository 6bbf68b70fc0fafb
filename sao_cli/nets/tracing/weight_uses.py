"""The weights of a record: constants that a product applies to what depends on the input, back through views."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sao_cli.nets.tracing.calls import PRODUCTS
from sao_cli.nets.tracing.recording import Operation, Recording

_VIEWS = (  # what a weight may go through and stay the same weight
    "view _unsafe_view reshape _reshape_alias permute t transpose movedim expand squeeze unsqueeze slice select split "
    "split_with_sizes chunk unbind narrow detach alias lift_fresh clone contiguous _to_copy flip"
)
VIEWS = frozenset(_VIEWS.split())
_COMPUTED = re.compile(r"(.*\.|)parametrizations\.([^.]+)\.original\d*|(.*)_(?:orig|mask|g|v)", re.DOTALL)


@dataclass(eq=False)
class WeightUse:
    """A product of the value `data` with the constant `factor`, whose axes `reads` and `writes` stand for units.

    `views` lead from the weight to the factor, the last first.
    """

    operation: Operation
    data: int
    factor: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    views: tuple[Operation, ...]

    @property
    def answer(self) -> int:
        """The value that the product makes."""
        number = self.operation.outputs[0]
        assert number is not None
        return number


@dataclass(eq=False)
class NetworkWeight:
    """The constant `root`, known as `name`, and the products that read it."""

    name: str
    root: int
    uses: list[WeightUse] = field(default_factory=list)


def network_weights(recording: Recording) -> list[NetworkWeight]:
    """The weights in the order run; a constant that is computed from nothing that has a name is none."""
    makers = {made: one for one in recording.operations for made in one.outputs if made is not None}
    named: dict[int, str] = {}
    for name, number in recording.tensors.items():
        named.setdefault(number, name)
    found: dict[int, NetworkWeight | None] = {}
    taken: set[str] = set()
    for operation in recording.operations:
        if (sides := _sides(operation, recording)) is None:
            continue
        data, factor = sides
        root, views = _viewed(factor, makers)
        if root not in found:
            own = _name(_names_under(root, named, makers), operation, recording)
            found[root] = NetworkWeight(_own(own, taken), root) if own else None
        weight = found[root]
        if weight is not None:
            reads, writes = _axes(operation, recording, factor)
            weight.uses.append(WeightUse(operation, data, factor, reads, writes, views))
    return [weight for weight in found.values() if weight is not None]


def _sides(operation: Operation, recording: Recording) -> tuple[int, int] | None:
    """What depends on the input and the constant factor of a product, None for any other operation."""
    factors = [operation.operand(role) for role in PRODUCTS.get(operation.name, ())]
    given = [one for one in factors if one is not None]
    moving = [one for one in given if recording.values[one].dynamic]
    still = [one for one in given if not recording.values[one].dynamic]
    return (moving[0], still[0]) if moving and still else None


def _axes(operation: Operation, recording: Recording, factor: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of the data and of the answer that stand for units; of an embedding its rows are the units read."""
    if operation.name == "convolution":
        return (1,), (1,)
    if operation.name == "embedding":
        return (), (-1,)
    comes_first = operation.operand(PRODUCTS[operation.name][0]) == factor
    by_vector = operation.name in ("mv", "addmv")
    axis = -2 if comes_first and not by_vector else -1
    value = recording.values[factor]
    if len(value.shape) == 3 and value.shape[0] > 1 and value.layout[1] != 0:  # a block for each of a batch
        return (0, axis), (axis,) if operation.name == "addbmm" else (0, axis)
    return (axis,), (axis,)


def _viewed(number: int, makers: dict[int, Operation]) -> tuple[int, tuple[Operation, ...]]:
    """The first tensor that is no view, nor another's multiple, on the way back from a constant, and what leads on."""
    views: list[Operation] = []
    while (maker := makers.get(number)) is not None and (maker.name in VIEWS or _is_scaling(maker)):
        views.append(maker)
        number = maker.operands[0]
    return number, tuple(views)


def _is_scaling(operation: Operation) -> bool:
    """Whether a tensor is multiplied by a number."""
    return operation.name in ("mul", "div", "neg") and len(operation.operands) == 1


def _name(under: list[str], operation: Operation, recording: Recording) -> str | None:
    """The parameter's name, or that of what a weight is computed from; where that is several, the module's."""
    named = [name for name in under if name in recording.parameters] or under
    plain = list(dict.fromkeys(map(plain_name, named)))
    return f"{operation.path}.weight".removeprefix(".") if len(plain) > 1 else next(iter(plain), None)


def _names_under(root: int, named: dict[int, str], makers: dict[int, Operation]) -> list[str]:
    """The parameters and buffers that a constant is computed from."""
    found, todo, seen = [], [root], {root}
    while todo:
        number = todo.pop()
        if number in named:
            found.append(named[number])
        below = [one for one in makers[number].operands if one not in seen] if number in makers else []
        seen.update(below)
        todo += below
    return found


def plain_name(name: str) -> str:
    """The name of the weight that torch keeps as `name`: weight_orig, weight_g, parametrizations.weight.original."""
    found = _COMPUTED.fullmatch(name)
    if found is None:
        return name
    return found[3] if found[2] is None else f"{found[1]}{found[2]}"


def _own(name: str, taken: set[str]) -> str:
    """The name, with a number where another weight has it."""
    own, count = name, 1
    while own in taken:
        count += 1
        own = f"{name}#{count}"
    taken.add(own)
    return own
