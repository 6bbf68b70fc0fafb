"""What the reports declare, all together: their kinds, and the types that their keys have in JSON."""

import importlib
import pkgutil
import types
import typing
from typing import Any, TypeVar

from sao_cli import reports
from sao_cli.reports.report import PAIR, Report, facts_of

NAMES: dict[Any, str] = {int: "whole number", float: "number", bool: "boolean", str: "text", dict: "object"}
NAMES |= {types.NoneType: "null", Any: "any"}


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


def single_values(report: type[Report]) -> list[str]:
    """The keys of a kind of report that have one value each, "ks.pvalue" of a part, "row_degree.min" of a pair.

    >>> from sao_cli.reports.audits import AuditRow
    >>> {"rank", "ks.pvalue", "row_degree.max"} <= set(single_values(AuditRow)), "shape" in single_values(AuditRow)
    (True, False)
    """
    hints = typing.get_type_hints(report)
    return [name for key in facts_of(report) for name in _names(key, hints[key])]


def _names(key: str, hint: Any) -> list[str]:
    one = next(one for one in _alternatives(hint) if one is not types.NoneType)
    if isinstance(one, type) and issubclass(one, Report):
        return [f"{key}.{inner}" for inner in single_values(one)]
    if _is_pair(one):
        return [f"{key}.{end}" for end in PAIR]
    return [] if typing.get_origin(one) else [key]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _is_pair(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple and len(typing.get_args(hint)) == 2 and ... not in typing.get_args(hint)


def _words(hint: Any, gap: Any) -> tuple[str, ...]:
    words = dict.fromkeys(_word(gap if isinstance(one, TypeVar) else one) for one in _alternatives(hint))
    return tuple(word for word in words if word)


def _word(hint: Any) -> str:
    if hint is typing.Never:
        return ""
    if typing.get_origin(hint) is tuple:
        return f"{'pair' if _is_pair(hint) else 'list'} of {_word(typing.get_args(hint)[0])}s"
    return NAMES.get(typing.get_origin(hint) or hint) or str(hint.__name__)
