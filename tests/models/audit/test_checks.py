"""Checks: what they mean where a number is missing, and what is refused."""

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.models.audit.checks import check, check_fields
from sao_cli.models.audit.row import audit_weight, skipped_row

ROWS = [
    audit_weight(np.diag([1.0, 1.0, 0.5]), name="a"),
    audit_weight(np.diag([2.0, 0.0, 0.0]), name="b"),
    audit_weight(np.ones((2, 2)), name="full"),
    skipped_row("norm", [3], "float32", "1-D"),
    skipped_row("broken", [3, 3], "float32", "1 NaN", kind="matrix"),
]


@pytest.mark.parametrize(
    ("expression", "failing"),
    [
        ("dead_inputs==0", "b broken"),
        ("dead_inputs != 0", "a full broken"),
        ("sigma_max < 1.5", "b full broken"),
        ("  sigma_max>=2e0 ", "a broken"),
        ("sparsity<=0.7", "b broken"),
        ("condition<1000", "b full broken"),  # their condition number is null: it can't be told
        ("condition!=7", "b full broken"),
        ("condition==null", "a broken"),
        ("condition != null", "b full broken"),
        ("ramanujan==true", "a b full broken"),
        ("ramanujan!=false", "a b broken"),  # null is not false
        ("connected == TRUE", "a b broken"),
        ("kind==kernel", "a b full broken"),
        ("name != 'b'", "b broken"),
        ("ks.pvalue<0.5", "a b full broken"),
        ("ks.n1 == 3", "full broken"),
        ("ks.reference==dense", "broken"),
        ("row_degree.min>0", "b broken"),
        ("column_degree.max==2", "a b broken"),
        ("name<3", "a b full broken"),
        ("skipped==false", "broken"),
        ("sigma_max<inf", "broken"),
    ],
)
def test_the_rows_that_fail(expression, failing):
    found = check(ROWS, expression)
    assert [failure.name for failure in found] == failing.split()
    assert all(failure.check == expression for failure in found)


def test_a_missing_number_says_why_it_can_not_be_told():
    (failure,) = [failure for failure in check(ROWS, "condition<1000") if failure.name == "b"]
    assert failure.value is None
    assert failure.reason.startswith("can't tell: ")
    assert "rank 1 of 3" in failure.reason
    assert check(ROWS, "sigma_max<1")[0].to_dict()["value"] == 1.0


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("sigma_mim>0.1", "did you mean 'sigma_min'"),
        ("sigma_min", "is no check"),
        ("sigma_min>", "is no check"),
        ("sigma_min=0.1", "is no check"),
        ("__import__('os').system('x')>1", "is no check"),
        ("sigma_min.__class__==1", "unknown field"),
        ("singular_values>1", "unknown field"),
        ("kind<matrix", "compares numbers"),
        ("sigma_min>true", "compares numbers"),
        ("sigma_min==nan", "no number equals nan"),
        ("ks>0.1", "ks.pvalue"),
        ("row_degree>3", "row_degree.min, row_degree.max"),
    ],
)
def test_what_is_no_check_is_refused(expression, message):
    with pytest.raises(SaoError, match=message):
        check(ROWS, expression)


def test_nothing_to_check_is_no_success():
    for rows in ([ROWS[3]], [ROWS[4]]):
        with pytest.raises(SaoError, match="all of the 1 tensors are skipped"):
            check(rows, "sigma_min>0.1")


def test_what_could_not_be_read_fails_every_check_and_says_why():
    for expression in ("sigma_max<inf", "sigma_max==null", "skipped==true", "dtype==float32", "kind==matrix"):
        (failure,) = [one for one in check(ROWS, expression) if one.name == "broken"]
        assert failure.reason == "can't tell: 1 NaN"


def test_every_field_can_be_looked_up():
    for field in check_fields():
        check(ROWS, f"{field} == null")
