"""Reports are strict JSON: plain numbers, and null for what is not finite."""

import json
import math

import numpy as np

from sao_cli.reports.masks import Plan
from sao_cli.reports.report import plain


def test_plain_values_are_what_strict_json_takes():
    value = {
        "count": np.int32(3),
        "truth": np.bool_(True),
        "array": np.array([[1.5, np.nan]]),
        "nested": (np.float32(0.5), [math.inf, -math.inf, float("nan")], {"deep": np.array([2])}),
        7: None,
    }
    text = json.dumps(plain(value), allow_nan=False)
    assert json.loads(text) == {
        "count": 3,
        "truth": True,
        "array": [[1.5, None]],
        "nested": [0.5, [None, None, None], {"deep": [2]}],
        "7": None,
    }


def test_a_report_keeps_its_order():
    row = Plan(layer=1, m=2, n=np.int64(4), c=1, d=2, sparsity=np.float64(0.5), parameters=4, feasible=(2, 4))
    told = row.to_dict()
    assert list(told) == ["record", "layer", "m", "n", "c", "d", "sparsity", "parameters", "feasible"]
    assert type(told["n"]) is int
    assert told["feasible"] == [2, 4]
