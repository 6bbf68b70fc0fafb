"""sao_cli.rank_checkpoint and rank_weight: rows against numpy and the pieces they are made of, and what is skipped."""

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.kernel import all_channels
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.measure.redundancy.fusing import fuse
from sao_cli.models.rank import ALONE, LAST, rank_checkpoint
from sao_cli.models.rank_row import Redundancy, rank_weight


@pytest.fixture
def stored(tmp_path):
    def write(tensors, name="m.safetensors"):
        write_checkpoint(tensors, tmp_path / name)
        return tmp_path / name

    return write


def normal(*shape, seed=0, dtype="f4"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_a_row_tells_ranks_pairs_and_what_fusing_would_do():
    weight = normal(30, 20, dtype="f8")
    weight[:, 1] = 2 * weight[:, 3]
    weight[5], weight[7] = -0.5 * weight[6], 0
    bias = normal(30, seed=1, dtype="f8")
    row = rank_weight(weight, bias, name="w", asked=Redundancy(pairs=2, tau=0.3))
    whole = np.column_stack((weight, bias))
    assert (row.rank, row.rank_with_bias) == tuple(map(np.linalg.matrix_rank, (weight, whole))) == (19, 20)
    assert row.soft_rank == np.count_nonzero(np.linalg.svd(whole, compute_uv=False) >= 0.3)
    assert (row.m, row.n, row.bias, row.tau) == (30, 20, True, 0.3)
    assert (row.columns.zero, row.rows.zero) == (0, 1)
    assert [(pair.i, pair.j) for pair in row.columns.pairs][:1] == [(1, 3)]
    first = row.rows.pairs[0]
    assert (first.i, first.j, first.cosine, first.ratio, first.distance) == (5, 6, -1.0, pytest.approx(-2), 0)
    assert row.columns.max_cosine == row.rows.max_cosine == 1.0
    second = row.rows.pairs[1]
    expected = weight[second.i] @ weight[second.j] / np.linalg.norm(weight[second.i]) / np.linalg.norm(weight[second.j])
    assert second.cosine == pytest.approx(expected, rel=1e-12)
    fused, fusions = fuse(weight)
    assert (row.fusions, row.parameters_saved) == (fusions, 600 - fused.weight.size) == (2, 600 - 28 * 19)
    assert row.error_frobenius < 1e-15
    assert row.singular_values.shape == (21,)


def test_the_thresholds_decide_what_is_fused_and_no_pairs_are_hidden():
    weight = np.eye(6)[:5]
    weight[1] = weight[0] + 0.01 * weight[1]  # 1 - cos is 5e-5
    assert rank_weight(weight).fusions > 0
    assert rank_weight(weight, asked=Redundancy(tau_cos=4e-5)).fusions == 0
    assert rank_weight(weight, asked=Redundancy(tau_euc=1e-3)).fusions == 0
    row = rank_weight(weight, asked=Redundancy(tau_cos=0, pairs=3))
    assert [(pair.i, pair.j) for pair in row.rows.pairs] == [(0, 1), (0, 2), (0, 3)]
    assert rank_weight(np.array([[1.0, 2.0]])).rows.max_cosine is None


def test_a_kernel_is_the_matrix_of_its_channels_and_taps():
    kernel = normal(4, 3, 3, 3)
    row, flat = rank_weight(kernel), rank_weight(kernel.reshape(4, 27))
    assert (row.kind, row.shape, row.m, row.n) == ("kernel", (4, 3, 3, 3), 4, 27)
    assert (row.rank, row.columns, row.rows, row.slack) == (flat.rank, flat.columns, flat.rows, 0)


def test_every_weight_of_a_checkpoint_with_its_bias_and_the_layer_after_it(stored):
    first, last = normal(6, 5), normal(3, 6, seed=2)
    first[1] = 2 * first[0]
    first[2] = 0
    last[:, 3] = 0
    bias = np.array([1, 2, 0, 0, 0, 0], "f4")
    path = stored({"0.weight": first, "0.bias": bias, "2.weight": last, "step": np.ones(())})
    rows, summary, failures = rank_checkpoint(path, activation="relu", checks=["rank>=5", "fusions<9"])
    found = {row.name: row for row in rows}
    assert [name for name, row in found.items() if row.skipped] == ["0.bias", "step"]
    assert found["0.weight"].features.to_dict() == {"mergeable": 1, "constant": 1, "unread": 1}
    assert (found["2.weight"].features, found["2.weight"].reason) == (None, LAST)
    assert (found["0.weight"].bias, found["2.weight"].bias) == (True, False)
    plain = rank_checkpoint(path).rows
    assert next(row for row in plain if row.name == "0.weight").features.mergeable == 0  # any function: equal ones only
    assert [(one.name, one.check) for one in failures] == [("0.weight", "rank>=5"), ("2.weight", "rank>=5")]
    told = (summary.measured, summary.skipped_tensors, summary.parameters, summary.fusions, summary.zero)
    assert told == (2, 2, 48, 1, 2)
    assert (summary.mergeable, summary.constant, summary.unread) == (1, 1, 1)


def test_behind_a_kernel_only_positive_multiples_and_units_of_zeros_go(stored):
    kernel = normal(5, 2, 3, 3)
    kernel[1], kernel[2], kernel[3] = -kernel[0], 0, 0
    bias = np.array([1, -1, 0, 1, 1], "f4")
    path = stored({"0.weight": kernel, "0.bias": bias, "2.weight": normal(4, 5, 3, 3, seed=1)})
    row = next(row for row in rank_checkpoint(path, activation="tanh").rows if row.name == "0.weight")
    assert row.features.to_dict() == {"mergeable": 0, "constant": 1, "unread": 0}


def test_grouped_transposed_tied_and_masked_weights_are_what_they_are_elsewhere(stored):
    depthwise, wide = normal(6, 1, 3, 3), normal(4, 7, seed=3)
    path = stored({"conv.weight": depthwise, "conv.bias": normal(6), "a.weight": wide, "b.weight": wide})
    found = {row.name: row for row in rank_checkpoint(path, groups=[("conv.weight", 6)]).rows}
    whole = rank_weight(all_channels(depthwise, 6), normal(6))
    assert (found["conv.weight"].n, found["conv.weight"].rank, found["conv.weight"].rows) == (54, 6, whole.rows)
    assert found["conv.weight"].shape == (6, 1, 3, 3)
    turned = rank_checkpoint(path, include="a.weight", transpose="a.weight").rows[0]
    assert (turned.m, turned.n, turned.transposed, turned.columns) == (7, 4, True, found["a.weight"].rows)
    assert found["b.weight"].tied_with == ("a.weight",)
    assert rank_checkpoint(path, include="?.weight").summary.parameters == 28  # one weight, counted once
    masked = rank_checkpoint(stored({"a.weight": wide, "a.weight_mask": np.tile([[1, 0]], (4, 4))[:, :7]}))
    row = next(row for row in masked.rows if row.masked_by)
    assert row.columns.zero == 3


def test_what_is_out_of_reach_is_null_with_its_reason(stored, monkeypatch):
    monkeypatch.setattr("sao_cli.measure.redundancy.ranks.EXACT_SIDE", 3)
    row = rank_checkpoint(stored({"0.weight": normal(4, 5)}), checks="rank>1")
    assert row.rows[0].rank is row.rows[0].slack is None
    assert row.rows[0].columns.max_cosine > 0
    assert "the ranks of 4 x 5 would take too long" in row.rows[0].reason
    assert "can't tell: the ranks of 4 x 5" in row.failures[0].reason

    def refuse(*_, **__):
        raise MemoryLimitError("too large")

    asked = Redundancy()
    monkeypatch.setattr("sao_cli.models.rank_row.fuse", refuse)
    row = rank_weight(np.ones((3, 3)), asked=asked)
    assert (row.fusions, row.reason) == (None, "too large")


def test_a_tensor_that_can_not_be_measured_is_a_skipped_row_and_fails_every_check(stored):
    broken = normal(3, 3)
    broken[1, 1] = np.nan
    rows, summary, failures = rank_checkpoint(stored({"a.weight": broken, "b.weight": normal(3, 4)}), checks="m>1")
    assert (rows[0].skipped, rows[0].reason) == (True, "nan at place (2, 2); every value must be a finite number")
    assert [(one.name, one.value, one.reason[:15]) for one in failures] == [("a.weight", None, "can't tell: nan")]
    assert summary.measured == 1
    with pytest.raises(SaoError, match=r"nothing in .* was measured: all of its 1 tensors are skipped, .* nan"):
        rank_checkpoint(stored({"a.weight": broken}))
    assert rank_checkpoint(stored({"b.weight": normal(3, 4)})).rows[0].reason.startswith(ALONE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tau": 0}, "--tau 0; it is a slack"),
        ({"tau_relative": -1}, "--tau-relative -1"),
        ({"tau_cos": 1}, "--tau-cos 1"),
        ({"tau_euc": -1}, "--tau-euc -1"),
        ({"floor": 1}, "--floor 1"),
        ({"pairs": 0}, "--pairs 0"),
        ({"checks": "rnk>1"}, "unknown field 'rnk'; did you mean 'rank'"),
        ({"include": "c*"}, "matches none"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_any_work(options, said, stored):
    with pytest.raises(SaoError, match=said):
        rank_checkpoint(stored({"a.weight": np.eye(2)}), **options)


def test_no_weight_is_refused():
    with pytest.raises(FormatError, match="2 axes or more"):
        rank_weight(np.ones(3))
