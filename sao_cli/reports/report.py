"""Frozen dataclasses, one a kind of report, each field declared once by `fact`, and `to_dict()` for strict JSON."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

from sao_cli import __version__

BOUND: str = "bound"  # what an error is: never exceeded,
ESTIMATE: str = "estimate"  # or only likely
PAIR = ("min", "max")  # how the two values of a pair are called
Gap = TypeVar("Gap")  # of a group of facts that reports share: None where a fact may be unknown, else Never


class Fact(NamedTuple):
    """What a field is: its meaning, its unit or equation, and whether two reports are compared in it.

    `theory` is the section of docs/theory.md that it is of, where that is another than its report's.
    """

    meaning: str
    unit: str
    compared: bool
    theory: int


def fact(
    meaning: str,
    *,
    unit: str = "",
    compared: bool = False,
    theory: int = 0,
    default: Any = MISSING,
    repr: bool = True,
) -> Any:
    """A field of a report, told here and nowhere else: what docs/json.md, tables and `sao explain` say derives from it.

    `unit` is its unit or its equation; `theory` its section of docs/theory.md, where that is not its report's. Where
    `repr` is False the field is for Python alone, and no part of the JSON.
    """
    return field(default=default, repr=repr, metadata={"fact": Fact(meaning, unit, compared, theory)})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(fact,))
class Report:
    """A row of a report: a frozen dataclass with keywords alone, as each class that inherits from this one is.

    A class says what a line of it is, its `record` ("" for a part of others), which columns a `table` of several rows
    has ("ks.pvalue" for a field of a field), which of them are to `spare`, the first first, where it is narrow, and of
    which section of docs/`theory`.md the fields are that it adds (0 of none).
    """

    record: ClassVar[str] = ""
    table: ClassVar[tuple[str, ...]] = ()
    spare: ClassVar[tuple[str, ...]] = ()
    theory: ClassVar[int] = 0
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, record: str = "", table: str = "", spare: str = "", theory: int = 0) -> None:
        super().__init_subclass__()
        told = {"record": record, "table": tuple(table.split()), "spare": tuple(spare.split()), "theory": theory}
        for name, value in told.items():
            if value:  # else that of the bases
                setattr(cls, name, value)
        dataclass(kw_only=True, init=False, repr=False, eq=False)(cls)  # its own would cost 0.5 ms of start a class

    def __init__(self, **values: Any) -> None:
        known = {item.name: item.default for item in fields(self)}
        missing = [name for name, default in known.items() if default is MISSING and name not in values]
        if wrong := [*missing, *(values.keys() - known.keys())]:
            raise TypeError(f"{type(self).__name__}: {', '.join(wrong)} is missing, or is no field of it")
        vars(self).update(known | values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"{type(self).__name__}.{name} can't be changed; dataclasses.replace makes another")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in facts_of(type(self)))})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple(vars(self).values()) == tuple(vars(other).values())

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def to_dict(self) -> dict[str, Any]:
        """The `record`, and the fields as plain Python values, in order; NaN and infinities become None."""
        head = {"record": self.record} if self.record else {}
        return head | {name: plain(getattr(self, name)) for name in facts_of(type(self))}


class LineHead(Report):
    """What every line of a report begins with, whatever it is on."""

    record: str = fact(  # type: ignore[misc]  # elsewhere it is the class's, one for all of its lines
        'what the line is: "layer", "depth", "chain", "epoch", "change", "summary" ...'
    )
    command: str = fact("the command that printed it")
    version: str = fact("the version of sao")
    seed: int = fact("the seed of this command")
    source: str | None = fact('the file that it is on, as it was named; "-" for stdin, null for what the options built')
    run: int = fact("of `sao sweep` alone: the number of the run, from 1")
    over: dict[str, Any] = fact("of `sao sweep` alone: the parameters that the grid varies, and their values")
    provenance: dict[str, Any] = fact("where the input came from, of inputs that tell it: their %sao object")


def facts_of(report: type[Report]) -> dict[str, Fact]:
    """What a kind of report tells, by its keys."""
    return {item.name: item.metadata["fact"] for item in fields(report) if item.repr}


def value_of(report: Report, key: str) -> Any:
    """What `report` has under `key`, "ks.pvalue" of a part or "row_degree.min" of a pair; None where that is None."""
    outer, _, inner = key.partition(".")
    value = getattr(report, outer)
    if not inner or value is None:
        return value
    return value[PAIR.index(inner)] if isinstance(value, tuple) else value_of(value, inner)


def report_line(row: dict[str, Any], command: str, seed: int, source: str | None = None) -> dict[str, Any]:
    """`row` as a line of a report: its record, what made it of which `source`, as a user named it, and the rest."""
    head = {"record": row["record"], "command": command, "version": __version__, "seed": seed, "source": source}
    return head | row


def origin(provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a line tells of where its input came from, by the input's own `provenance`: nothing, where it has none."""
    return {"provenance": dict(provenance)} if provenance else {}


def plain(value: Any) -> Any:
    """`value` with numpy scalars and arrays, tuples, mappings and reports as what json.dumps(allow_nan=False) takes."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Report):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # an array of numpy, or a scalar; to ask by its class would import numpy
        value = value.tolist()
        return [plain(item) for item in value] if isinstance(value, list) else plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
