"""What the reports declare, all together: their kinds, and the types that their keys have in JSON."""

import importlib
import pkgutil
import types
import typing
from typing import Any, TypeVar

from sao_cli import reports
from sao_cli.reports.report import Report, facts_of

NAMES = {int: "whole number", float: "number", bool: "boolean", str: "text", dict: "object", types.NoneType: "null"}


def kinds() -> list[type[Report]]:
    """Every kind of report, and of part of one, module by module in their order there."""
    modules = [
        importlib.import_module(f"{reports.__name__}.{found.name}") for found in pkgutil.iter_modules(reports.__path__)
    ]
    return [
        thing
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Report) and thing is not Report
        if thing.__module__ == module.__name__
    ]


def json_types(report: type[Report]) -> dict[str, tuple[str, ...]]:
    """The types that each key of a kind of report may have: words for those of JSON, and names of other reports.

    >>> from sao_cli.reports.masks import Depth
    >>> json_types(Depth)["reachable"], json_types(Depth)["rank_f2"]
    (('number',), ('whole number', 'null'))
    """
    hints = typing.get_type_hints(report)
    gap = types.NoneType if _may_be_unknown(report) else typing.Never
    return {key: _words(hints[key], gap) for key in facts_of(report)}


def _may_be_unknown(report: type[Report]) -> bool:
    """Whether the facts of groups that reports share may be None in this one."""
    bases = [base for one in report.__mro__ for base in vars(one).get("__orig_bases__", ())]
    return any(types.NoneType in typing.get_args(base) for base in bases)


def _words(hint: Any, gap: Any) -> tuple[str, ...]:
    if isinstance(hint, TypeVar):
        hint = gap
    if hint is typing.Never:
        return ()
    if hint is Any:
        return ("any",)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return tuple(dict.fromkeys(word for one in inner for word in _words(one, gap)))
    if origin is tuple:
        return (f"list of {' or '.join(_words(inner[0], gap))}s",)
    return (NAMES.get(origin or hint) or hint.__name__,)
