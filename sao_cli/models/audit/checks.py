"""Conditions on an audit's rows, "FIELD OP VALUE", for those who let a program decide whether a checkpoint is good."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.reports.audits import AuditRow, CheckFailure
from sao_cli.reports.declared import single_values
from sao_cli.reports.report import Report, value_of

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
WORDS = {"true": True, "false": False, "null": None, "none": None}

_FORM = re.compile(r"\s*([\w.]+)\s*(==|!=|<=|>=|<|>)\s*(.*?)\s*", re.DOTALL)
_EXAMPLE = 'a check is "FIELD OP VALUE", such as "sigma_min>0.1" or "ks.pvalue >= 0.05"'


@dataclass(frozen=True)
class Check:
    """A condition: the `field` (a name, or two joined by a dot), the operator's sign and the `value`."""

    text: str
    field: str
    sign: str
    value: float | bool | str | None

    @classmethod
    def of(cls, text: str, *reports: type[Report]) -> Check:
        """The condition that `text` states; SaoError, with the nearest name, for one that none can be.

        It may name what one of the kinds of `reports` has, of an AuditRow where none is given. VALUE is a number, true,
        false, null, or else a word, which may be quoted. Nothing is evaluated.

        >>> Check.of("sigma_min > 0.5")
        Check(text='sigma_min > 0.5', field='sigma_min', sign='>', value=0.5)
        """
        found = _FORM.fullmatch(text)
        if found is None or not found[3]:
            raise SaoError(f"{text!r} is no check; {_EXAMPLE}")
        field, sign, value = found[1], found[2], _value(found[3])
        known = check_fields(*reports)
        if field not in known:
            raise SaoError(_unknown(field, known))
        if sign not in ("==", "!=") and not _is_number(value):
            raise SaoError(f"{text!r}: {sign} compares numbers, and {found[3]} is none; use == or !=")
        return cls(text, field, sign, value)

    def fails(self, row: AuditRow) -> CheckFailure | None:
        """What is wrong with `row`, None where it is as it should be."""
        if row.skipped:
            told, found = f"can't tell: {row.reason}", value_of(row, self.field)
            return CheckFailure(name=row.name, check=self.text, field=self.field, value=found, reason=told)
        return self.fails_of(row.name, row, row.reason)

    def fails_of(self, name: str, report: Report, why: str | None = None) -> CheckFailure | None:
        """What is wrong with a report that has the field; `why` is what it tells of what it does not know."""
        found = value_of(report, self.field)
        comparable = _is_number(found) if _is_number(self.value) else True
        if comparable and OPERATORS[self.sign](found, self.value):
            return None
        reason = None
        if found is None and self.value is not None:
            reason = f"can't tell: {why}" if why else "can't tell: there is no such number for this row"
        elif not comparable:
            reason = f"{found!r} is no number"
        return CheckFailure(name=name, check=self.text, field=self.field, value=found, reason=reason)


def check(rows: Sequence[AuditRow], expression: str) -> list[CheckFailure]:
    """The rows that do not satisfy `expression`, "FIELD OP VALUE", in their order; see Check.of for its form.

    FIELD is a key of the rows, "ks.pvalue" the p-value of a test, "row_degree.min" one end of a range; OP is one of
    == != < <= > >=. Where the field is null a comparison with a number can't be told, and fails; == and != compare
    null with true, false, null and words as what it is. Of skipped rows, those of weights (`kind` is not null) that
    could not be read fail every check, since it can't be told; the others are not checked.

    Raises SaoError for what is no such expression, and where there is no row to check: nothing is known then.

    >>> from sao_cli.models.audit.row import audit_weight
    >>> [failure.value for failure in check([audit_weight([[1.0, 0.0]], name="a")], "dead_inputs == 0")]
    [1]
    """
    condition = Check.of(expression)
    chosen = [row for row in rows if not row.skipped or row.kind is not None]
    if all(row.skipped for row in chosen):
        raise SaoError(f"{expression!r} can't be checked: all of the {len(rows)} tensors are skipped")
    return [failure for row in chosen if (failure := condition.fails(row)) is not None]


def check_fields(*reports: type[Report]) -> list[str]:
    """All names that a check may have, of these kinds of reports, or else of an audit's rows."""
    return list(dict.fromkeys(name for one in reports or (AuditRow,) for name in single_values(one)))


def _unknown(field: str, known: list[str]) -> str:
    parts = [name for name in known if name.startswith(f"{field}.")]
    if parts:
        return f"{field!r} has several values, and a check looks at one: {', '.join(parts)}"
    return unknown_name("unknown field", field, known)


def _value(text: str) -> float | bool | str | None:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    if number != number:
        raise SaoError("no number equals nan; compare with null to ask whether one is there")
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
