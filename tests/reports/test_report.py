"""Reports are strict JSON: plain numbers, and null for what is not finite."""

import copy
import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from sao_cli import Mask, Matrix, expansion, spectrum
from sao_cli.reports.masks import Depth, Plan, ReachSummary
from sao_cli.reports.report import plain, value_of


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


def test_a_report_is_made_whole_and_stays_as_it_is():
    depth = {"layer": 1, "inputs": 2, "outputs": 2, "reachable": 0.5, "odd_paths": 0.5, "rank_f2": None}
    depth |= {"unreached_outputs": 0, "lost_inputs": 0, "full": False}
    one, other = Depth(**depth), Depth(**depth)
    assert (one == other, hash(one) == hash(other), one == replace(one, full=True)) == (True, True, False)
    assert repr(one).startswith("Depth(layer=1, inputs=2, ")
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert ReachSummary(layers=1, full_at=None, minimum_possible=1).summary is True  # a default
    with pytest.raises(FrozenInstanceError, match=r"Depth\.full can't be changed"):
        one.full = True
    with pytest.raises(TypeError, match="Depth: full is missing"):
        Depth(**{key: value for key, value in depth.items() if key != "full"})
    with pytest.raises(TypeError, match="Depth: ful is missing, or is no field of it"):
        Depth(**depth, ful=True)


def test_a_key_leads_into_parts_and_pairs():
    mask = Mask.from_dense([[1, 1, 0], [1, 0, 0]])
    found = expansion(mask)
    assert [value_of(found, f"row_degree.{end}") for end in ("min", "max")] == [1, 2]
    row = spectrum(Matrix.from_dense(np.eye(3)))
    assert value_of(row, "within.fraction") == row.within.fraction == 1
    assert value_of(row, "repeats.count") is None
