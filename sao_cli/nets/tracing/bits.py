"""Three bits a number of a record: can it be other than 0, does it depend on the input, does an output depend on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import is_out_of_memory
from sao_cli.nets.tracing.calls import PRODUCTS, Call, Stand
from sao_cli.nets.tracing.recording import Bits, Operation, Recording, told_of
from sao_cli.nets.tracing.stand_ins import (
    LINEAR,
    first,
    is_comparison_of,
    is_mean_of,
    settled,
    stand_in,
    summed,
    unknown,
)

Function = Callable[..., tuple[Tensor, ...]]
Watch = Callable[[Operation, Mapping[int, Bits], Mapping[int, Bits]], None]


class Linearised(NamedTuple):
    """An operation's stand-in as a function of the values `reads`; it gives those of `makes`."""

    reads: tuple[int, ...]
    makes: tuple[int, ...]
    function: Function


class Propagation:
    """The bits of a record: `nonzero` and `depends`, by number; the latter is None for a constant.

    After each operation bits are made bits again: one continuous pass through a deep network would under- or overflow.
    `unknown` are the operations of which nothing is known, so that all facts are upper bounds, `choices` those that
    chose by numbers which depend on the input, and went as the example has it.
    """

    def __init__(self, recording: Recording, norms: str) -> None:
        self.recording, self._norms = recording, norms
        self.makers = {made: one for one in recording.operations for made in one.outputs if made is not None}
        self.nonzero: list[Bits | None] = [value.nonzero for value in recording.values]
        self.depends: list[Bits | None] = [None] * len(recording.values)
        self._stands: dict[Operation, Stand] = {}
        self._linearised: dict[Operation, Linearised] = {}
        self._unknown: dict[Operation, str] = {}
        for number in recording.inputs:
            value = recording.values[number]
            self.nonzero[number] = self.depends[number] = torch.ones(value.shape, dtype=torch.bool, device=value.device)
        with warnings.catch_warnings():  # torch's own forward mode calls what it deprecates, once
            warnings.filterwarnings("ignore", message=".*torch.jit.script")
            for operation in recording.operations:
                if self.is_dynamic(operation):
                    self._forward(operation)
        self.choices = tuple(dict.fromkeys(self._choices()))

    @property
    def unknown(self) -> tuple[str, ...]:
        """The operations of which nothing is known."""
        return tuple(dict.fromkeys(self._unknown.values()))

    def is_dynamic(self, operation: Operation) -> bool:
        """Whether an answer of the operation depends on the input."""
        return any(made is not None and self.recording.values[made].dynamic for made in operation.outputs)

    def linearised(self, operation: Operation) -> Linearised:
        """The operation's stand-in, for what reads and makes real numbers or whole ones from the input."""
        if operation not in self._linearised:
            self._linearised[operation] = self._as_function(operation)
        return self._linearised[operation]

    def _as_function(self, operation: Operation) -> Linearised:
        values = self.recording.values
        places = [
            (place, made)
            for place, made in enumerate(operation.outputs)
            if made is not None and (values[made].is_real or values[made].dynamic)
        ]
        numbers = tuple(dict.fromkeys(n for n in operation.operands if values[n].is_real or values[n].dynamic))

        def function(*bits: Tensor) -> tuple[Tensor, ...]:
            answers = self._stand(operation)(Call(operation, values, dict(zip(numbers, bits, strict=True))))
            answers = answers if isinstance(answers, tuple | list) else (answers,)
            return tuple(answers[place].expand(values[made].shape) for place, made in places)

        return Linearised(numbers, tuple(made for _, made in places), function)

    def known(self, number: int) -> Bits:
        """Which numbers of a value can be other than 0."""
        bits = self.nonzero[number]
        assert bits is not None
        return bits

    def reached(self, number: int) -> Bits:
        """Which numbers of a value depend on the input."""
        bits = self.depends[number]
        return torch.zeros_like(self.known(number)) if bits is None else bits

    def pulled(self, operation: Operation, live: Mapping[int, Bits], depending: bool = False) -> dict[int, Bits]:
        """Which numbers of its operands the operation's live answers read, at nonzero bits or at `depending` ones."""
        reads, makes, function = self.linearised(operation)
        at = [self._point(number, depending) for number in reads]
        if not at:
            return {}
        shapes = (self.recording.values[made].shape for made in makes)
        seeds = tuple(
            live[made].float() if made in live else torch.zeros(shape, device=at[0].device)
            for made, shape in zip(makes, shapes, strict=True)
        )
        with torch.enable_grad():  # torch.func.vjp does the same in three times the time for small operations
            points = [point.requires_grad_() for point in at]
            answers = [(made, seed) for made, seed in zip(function(*points), seeds, strict=True) if made.requires_grad]
            made, along = zip(*answers, strict=True) if answers else ((), ())
            found = torch.autograd.grad(made, points, along, allow_unused=True) if made else [None] * len(points)
        return {
            number: torch.zeros_like(point, dtype=torch.bool) if gradient is None else gradient > 0
            for number, point, gradient in zip(reads, at, found, strict=True)
        }

    def lived(self, seeds: Mapping[int, Bits], watch: Watch) -> dict[int, Bits]:
        """The live bits that those of `seeds` bring, of constants too.

        `watch` sees each operation with live answers, all live bits so far, and which numbers of its operands it reads.
        """
        live = dict(seeds)
        for operation in reversed(self.recording.operations):
            if any(made in live for made in operation.outputs):
                read = self.pulled(operation, live)
                watch(operation, live, read)
                for number, bits in read.items():
                    live[number] = live[number] | bits if number in live else bits
        return live

    def _point(self, number: int, depending: bool) -> Tensor:
        bits = self.depends[number] if depending and self.depends[number] is not None else self.nonzero[number]
        assert bits is not None
        return bits.float()

    def _forward(self, operation: Operation) -> None:
        for number in operation.operands:
            if not self.recording.values[number].finite:
                where = operation.path or "the module"
                raise FormatError(f"{where} reads a constant that is not finite in {operation.name}; mend the weights")
        try:
            made = self._pushed(operation)
        except (RuntimeError, NotImplementedError, TypeError, IndexError, KeyError, AttributeError) as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            self._stands[operation] = unknown
            self._unknown[operation] = told_of(operation.path, operation.name)
            made = self._pushed(operation)
        for number, bits, tangent in made:
            self.nonzero[number], self.depends[number] = bits > 0, tangent > 0

    def _pushed(self, operation: Operation) -> list[tuple[int, Tensor, Tensor]]:
        reads, makes, function = self.linearised(operation)
        at = [self._point(number, False) for number in reads]
        along = [index for index, number in enumerate(reads) if self.depends[number] is not None]
        tangents = [self._point(reads[index], True) for index in along]
        bits = function(*at)
        still = self._still(operation, at, along)
        if still is None:
            moved = self._derivative(operation, at, along)(*tangents)
        else:
            points = _merged(still, along, tangents)
            same = all(map(torch.equal, points, at))  # as where nothing is lost and no bias is added
            moved = bits if same else function(*points)
        return list(zip(makes, bits, moved, strict=True))

    def swept(self, operation: Operation, tangents: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Bits (S, ...) of the answers for S sets of bits of the operands, each of which depends on a part alone."""
        reads, makes, _ = self.linearised(operation)
        at = [self._point(number, False) for number in reads]
        along = [index for index, number in enumerate(reads) if number in tangents]
        push, moved = self._derivative(operation, at, along), [tangents[reads[index]].float() for index in along]
        if len(moved[0]) == 1:  # vmap's own cost is most of that of a small operation
            found = tuple(bits[None] for bits in push(*(one[0] for one in moved)))
        else:
            found = torch.func.vmap(push)(*moved)
        return {number: bits > 0 for number, bits in zip(makes, found, strict=True)}

    def _derivative(self, operation: Operation, at: Sequence[Tensor], along: Sequence[int]) -> Function:
        """The stand-in's derivative at bits `at`, as a function of what moves `along` some of the operands."""
        function = self.linearised(operation).function
        still = self._still(operation, at, along)
        if still is not None:
            return _of_some(function, still, along)
        some, points = _of_some(function, at, along), tuple(at[index] for index in along)

        def push(*moved: Tensor) -> tuple[Tensor, ...]:
            answer: tuple[Tensor, ...] = torch.func.jvp(some, points, moved)[1]
            return answer

        return push

    def _still(self, operation: Operation, at: Sequence[Tensor], along: Sequence[int]) -> list[Tensor] | None:
        """What the operands are that do not move, where the stand-in is its own derivative: all summands are 0 then.

        So it is where it is linear in what moves, as a product is in one factor; None elsewhere.
        """
        reads = self.linearised(operation).reads
        factors = [operation.operand(role) for role in PRODUCTS.get(operation.name, ())]
        moving = {reads[index] for index in along} & set(factors)
        is_linear = operation.name in LINEAR or self._stand(operation) is first
        if not is_linear and (len(factors) != 2 or len(moving) == 2):
            return None
        kept = {index for index, number in enumerate(reads) if moving and number in factors}
        return [tensor if index in kept else torch.zeros_like(tensor) for index, tensor in enumerate(at)]

    def swept_back(self, operation: Operation, live: Mapping[int, Tensor], sets: int) -> dict[int, Tensor]:
        """Bits (S, ...) of the operands that depend on the input, for S sets of live bits of the answers."""
        reads, makes, function = self.linearised(operation)
        at = [self._point(number, False) for number in reads]
        along = [index for index, number in enumerate(reads) if self.depends[number] is not None]
        zeros = [torch.zeros(sets, *self.recording.values[made].shape, device=at[0].device) for made in makes]
        seeds = tuple(live[made].float() if made in live else zero for made, zero in zip(makes, zeros, strict=True))
        with torch.enable_grad():
            _, pull = torch.func.vjp(_of_some(function, at, along), *(at[index] for index in along))
            found = torch.func.vmap(pull)(seeds)
        return {reads[index]: bits > 0 for index, bits in zip(along, found, strict=True)}

    def _stand(self, operation: Operation) -> Stand:
        if operation not in self._stands:
            self._stands[operation] = self._chosen_stand(operation)
        return self._stands[operation]

    def _chosen_stand(self, operation: Operation) -> Stand:
        if operation.name == "where" and is_comparison_of(operation, self.makers):
            return summed
        if self._norms == "unit" and operation.name == "sub" and is_mean_of(operation, self.makers):
            return _centred
        found = stand_in(operation, self._norms, self.recording.values)
        if found is None and self.is_dynamic(operation):
            self._unknown[operation] = told_of(operation.path, operation.name)
        return settled(operation, found, self.recording.values) if found else unknown

    def _choices(self) -> list[str]:
        told = []
        for operation in self.recording.operations:
            operands = [self.recording.values[number] for number in operation.operands]
            if not (operation.name == "where" and is_comparison_of(operation, self.makers)):
                told += [one.choice for one in operands if one.choice]
            if None in operation.outputs and any(one.dynamic for one in operands):
                told.append(told_of(operation.path, operation.name))
        return told


def _centred(call: Call) -> Tensor:
    """x less its mean, which counts as a constant."""
    bits: Tensor = call["self"]
    return bits + 1


def _of_some(function: Function, at: Sequence[Tensor], along: Sequence[int]) -> Function:
    """The function of the operands `along` alone, the others being what they are."""

    def some(*moving: Tensor) -> tuple[Tensor, ...]:
        return function(*_merged(at, along, moving))

    return some


def _merged(still: Sequence[Tensor], along: Sequence[int], moving: Sequence[Tensor]) -> list[Tensor]:
    merged = list(still)
    for index, tensor in zip(along, moving, strict=True):
        merged[index] = tensor
    return merged
