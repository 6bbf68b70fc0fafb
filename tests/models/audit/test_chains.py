"""What rows say together: chains against the masks themselves, the summary, and two audits side by side."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError
from sao_cli.data.mask import Mask
from sao_cli.measure.reach.reachability import reachability
from sao_cli.models.audit import chains as module
from sao_cli.models.audit.chains import audit_chain, audit_summary, named_chains
from sao_cli.models.audit.comparison import compare_audits
from sao_cli.models.audit.connections import Pattern, mask_of_dense
from sao_cli.models.audit.row import audit_weight, skipped_row


def random_layers(widths, densities, seed):
    rng = np.random.default_rng(seed)
    shapes = zip(widths[1:], widths[:-1], densities, strict=True)
    return [rng.uniform(1, 2, (m, n)) * (rng.random((m, n)) < density) for m, n, density in shapes]


def audited(layers):
    return [audit_weight(layer, name=f"layer{number}") for number, layer in enumerate(layers)]


def cut_off_in(product):
    """Columns and rows of zeros of a product of layers, first layer last, none of whose numbers is below 0."""
    return tuple(np.flatnonzero(~product.any(axis=0))), tuple(np.flatnonzero(~product.any(axis=1)))


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.1, 0.4, 0.9, 1.0]), min_size=3, max_size=3),
    st.integers(0, 99),
)
def test_a_chain_is_the_reachability_of_its_masks(widths, densities, seed):
    layers = random_layers(widths, densities, seed)
    (chain,) = audit_chain(audited(layers))
    expected = reachability([Mask.from_dense(layer) for layer in layers])
    last = expected.depths[-1]
    assert (chain.layers, chain.layer_names) == (3, ("layer0", "layer1", "layer2"))
    assert (chain.inputs, chain.outputs) == (widths[0], widths[-1])
    assert chain.reachable_after == tuple(depth.reachable for depth in expected.depths)
    assert (chain.reachable, chain.odd_paths) == (last.reachable, last.odd_paths)
    assert (chain.lost_inputs, chain.unreached_outputs) == (last.lost_inputs, last.unreached_outputs)
    assert (chain.lost_input_units, chain.unreached_output_units) == cut_off_in(np.linalg.multi_dot(layers[::-1]))
    assert (chain.full_at, chain.minimum_possible) == (expected.summary.full_at, expected.summary.minimum_possible)


@settings(max_examples=30)
@given(st.lists(st.integers(2, 6), min_size=4, max_size=4), st.integers(0, 99))
def test_degrees_alone_tell_the_same(widths, seed):
    layers = random_layers(widths, [0.85] * 3, seed)
    rows = audited(layers)
    (expected,) = audit_chain(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MANY", 0)
        (chain,) = audit_chain(rows)
    if chain.reason is None:
        assert chain == expected
    else:
        assert "are not counted" in chain.reason
        assert replace(chain, reason=None, odd_paths=expected.odd_paths) == expected


def test_a_dead_output_behind_full_layers_is_seen(monkeypatch):
    monkeypatch.setattr(module, "MANY", 0)
    dense, last = np.ones((6, 6)), np.ones((6, 6))
    dense[0, 0] = 0
    rows = audited([dense, dense, last])
    assert "are not counted" in audit_chain(rows)[0].reason
    last[2] = 0
    (chain,) = audit_chain(audited([dense, dense, last]))
    assert (chain.reason, chain.full_at, chain.unreached_outputs) == (None, 2, 1)


def test_runs_end_where_sizes_or_layers_that_cannot_be_read_break_them():
    shapes = [(4, 3), (5, 4), (5, 5), (3, 9), (2, 3), (7, 7)]
    rows = [audit_weight(np.ones(shape), name=str(number)) for number, shape in enumerate(shapes)]
    rows.insert(1, skipped_row("bias", [4], "float32", "bias"))
    assert [chain.layer_names for chain in audit_chain(rows)] == [("0", "1", "2"), ("3", "4")]
    rows.insert(3, skipped_row("broken", [5, 5], "float32", "2 NaN", kind="matrix"))
    assert [chain.layer_names for chain in audit_chain(rows)] == [("0", "1"), ("3", "4")]
    assert audit_chain([]) == audit_chain(rows[:1]) == []


def test_kernels_chain_by_their_channels():
    grouped = np.ones((4, 1, 3, 3))
    rows = [
        audit_weight(np.ones((4, 2, 3, 3)), name="a"),
        audit_weight(grouped, name="b", groups=4),
        audit_weight(np.eye(4)[:2], name="c"),
    ]
    (chain,) = audit_chain(rows)
    assert (chain.layer_names, chain.reachable, chain.outputs) == (("a", "b", "c"), 1.0, 2)


def test_a_chain_that_does_not_fit_says_so(monkeypatch):
    rows = audited(random_layers([6, 6, 6], [0.5, 0.5], 0))
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 10)
    (chain,) = audit_chain(rows)
    assert (chain.reachable, chain.full_at, chain.reachable_after) == (None, None, ())
    assert "connections of 2 layers" in chain.reason


@pytest.mark.parametrize("density", [0.01, 0.5, 0.99, 1.0, 0.0])
def test_patterns_come_back_as_they_were(density, monkeypatch):
    monkeypatch.setattr("sao_cli.models.audit.connections._PIECE", 64)
    dense = np.random.default_rng(0).random((37, 21)) < density
    mask = mask_of_dense(dense)
    assert mask == Mask.from_dense(dense)
    kept = Pattern.of_dense(dense)
    assert kept.to_mask() == Pattern.of(mask).to_mask() == mask
    assert (kept.full, kept.packed is not None) == (density == 1, density == 0.5)
    assert (kept.zeros is None) == (density < 0.9)
    for pattern in (kept, Pattern.of(mask)):
        np.testing.assert_array_equal(pattern.row_degrees, mask.row_degrees)
        np.testing.assert_array_equal(pattern.column_degrees, mask.column_degrees)
        assert pattern.nnz == mask.nnz
        for share in (0.0, 0.1, 1.0):
            reads, writes = np.random.default_rng(1).random(21) < share, np.random.default_rng(2).random(37) < share
            np.testing.assert_array_equal(pattern.written(reads), (dense & reads).any(1))
            np.testing.assert_array_equal(pattern.read(writes), (dense & writes[:, None]).any(0))
            assert pattern.between(reads, writes) == (dense & reads & writes[:, None]).sum()
    product = np.eye(21, dtype=int)
    for link in kept.links():
        product = link.to_dense(int) @ product
    np.testing.assert_array_equal(product, dense)


def test_an_almost_full_layer_is_remembered_by_its_zeros():
    dense = np.ones((800, 600), dtype=np.float32)
    dense[3, 5] = dense[700, 0] = 0
    assert len(pickle.dumps(Pattern.of_dense(dense))) < 1000
    dense[3] = 0  # no output of this one is ever written
    kept = Pattern.of_dense(dense)
    assert np.flatnonzero(~kept.written(np.ones(600, dtype=bool))).tolist() == [3]


def test_the_summary_adds_up():
    layers = random_layers([6, 6, 6], [0.3, 1.0], 5)
    layers[0][:, 2] = 0
    rows = [*audited(layers), skipped_row("a", [7], "float32", "1-D"), skipped_row("b", [2, 3], "int8", "integers")]
    rows.append(skipped_row("c", [5], "float32", "1-D"))
    chains = audit_chain(rows)
    summary = audit_summary(rows, chains)
    json.dumps(summary.to_dict(), allow_nan=False)
    assert (summary.tensors, summary.rows, summary.skipped_tensors, summary.matrices, summary.kernels) == (
        5,
        2,
        3,
        2,
        0,
    )
    assert summary.skipped_reasons == {"1-D": 2, "integers": 1}
    kept = sum(np.count_nonzero(layer) for layer in layers)
    assert (summary.total_parameters, summary.audited_parameters, summary.kept_parameters) == (90, 72, kept)
    assert summary.overall_sparsity == 1 - kept / 72
    assert (summary.disconnected, summary.rank_deficient) == (("layer0",), ("layer0",))
    assert summary.dead_inputs >= 1
    assert (summary.chains, summary.blocked_chains) == (1, 1)
    worst = max(rows[:2], key=lambda row: row.isometry_error)
    assert summary.worst_isometry == {"name": worst.name, "isometry_error": worst.isometry_error}
    empty = audit_summary(rows[2:])
    assert (empty.overall_sparsity, empty.worst_isometry, empty.rows) == (None, None, 0)


def test_audits_are_lined_up_by_name():
    one, two = np.ones((3, 4)), np.ones((3, 4))
    two[0] = 0
    before = [audit_weight(one, name="a"), audit_weight(one, name="b"), audit_weight(one, name="gone")]
    after = [audit_weight(np.ones((2, 2)), name="new"), audit_weight(one, name="b"), audit_weight(two, name="a")]
    found = compare_audits(before, after)
    assert compare_audits([audit_weight(-one, name="a")], before[:1])[0].status == "changed"
    assert [(row.name, row.status) for row in found] == [
        ("a", "changed"),
        ("b", "same"),
        ("gone", "only before"),
        ("new", "only after"),
    ]
    assert found[0].changes["dead_outputs"] == {"before": 0, "after": 1, "difference": 1}
    assert found[0].changes["connected"] == {"before": True, "after": False, "difference": None}
    assert found[1].changes == {}
    assert compare_audits(before[:1], [audit_weight(np.ones((4, 3)), name="a")])[0].status == "reshaped"
    json.dumps([row.to_dict() for row in found], allow_nan=False)
    with pytest.raises(FormatError, match="'a' is there twice before"):
        compare_audits([before[0], before[0]], after)


def test_the_module_needs_no_matrix_for_all_ones(monkeypatch):
    rows = [audit_weight(np.ones((50, 50), dtype=np.float32), name=name) for name in "abc"]
    monkeypatch.setattr(
        module, "require_memory", lambda needed, *_: pytest.fail("memory is asked for") if needed else None
    )
    assert audit_chain(rows)[0].full_at == 1


def stack(count, width=6, density=1.0):
    layers = random_layers([width] * (count + 1), [density] * count, 3)
    return [audit_weight(layer, name=f"net.{number}.weight") for number, layer in enumerate(layers)]


def test_stacks_are_claimed_and_say_what_is_assumed():
    rows = stack(4, density=0.4)
    names = [row.name for row in rows]
    (chain,) = named_chains([rows[2], rows[0], rows[3], rows[1]], [names])
    (expected,) = audit_chain(rows)
    assert (chain.order, chain.assumed) == ("numbered names", "a plain stack")
    assert (expected.order, expected.assumed) == ("as given", "the order of rows")
    assert replace(chain, order="as given", assumed="the order of rows") == expected


def test_what_is_in_no_stack_is_one_chain_that_claims_nothing():
    rows = [*stack(2), audit_weight(np.eye(6), name="head"), skipped_row("bias", [6], "float32", "bias")]
    claimed, unknown = named_chains(rows, [[row.name for row in rows[:2]]], "the names do not tell")
    assert claimed.layer_names == ("net.0.weight", "net.1.weight")
    assert (unknown.chain, unknown.layer_names, unknown.reason) == (2, ("head",), "the names do not tell")
    facts = [unknown.order, unknown.assumed, unknown.inputs, unknown.outputs, unknown.reachable, unknown.lost_inputs]
    assert facts == [None] * 6
    assert audit_summary(rows, [claimed, unknown]).chains == 1
    assert named_chains(rows[:1], [], "the names do not tell") == []


@pytest.mark.parametrize("how", ["NaN", "unknown", "left out"])
def test_a_layer_that_can_not_be_read_ends_a_stack_and_is_named(how):
    rows = stack(6)
    names = [row.name for row in rows]
    broken, reason = names[2], {"NaN": "1 NaN", "unknown": "its shard is missing", "left out": "it was left out"}[how]
    if how == "left out":
        del rows[2]
    else:
        shape, kind = ([6, 6], "matrix") if how == "NaN" else (None, "weight")
        rows[2] = skipped_row(broken, shape, "float32", reason, kind=kind)
    before, after = named_chains(rows, [names], left_out={broken} if how == "left out" else ())
    assert (before.layer_names, before.reason) == (tuple(names[:2]), f"{broken} ends it: {reason}")
    assert (after.layer_names, after.reason) == (tuple(names[3:]), f"it begins after {broken}: {reason}")
    assert before.reachable == after.reachable == 1


def test_layers_that_are_left_alone_by_one_that_can_not_be_read_claim_nothing():
    rows = stack(3)
    names = [row.name for row in rows]
    rows[1] = skipped_row(names[1], [6, 6], "float32", "1 NaN", kind="matrix")
    (unknown,) = named_chains(rows, [names])
    assert (unknown.layer_names, unknown.reachable) == (("net.0.weight", "net.2.weight"), None)
    assert "net.1.weight" in unknown.reason


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_flattened_images_are_read_channel_by_channel(channels, pixels, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.uniform(1, 2, (channels, 3, 2, 2)) * (rng.random((channels, 3, 1, 1)) < 0.5)
    flat = rng.uniform(1, 2, (5, channels * pixels)) * (rng.random((5, channels * pixels)) < 0.4)
    rows = [audit_weight(kernel, name="0"), audit_weight(flat, name="2")]
    (chain,) = audit_chain(rows)
    live = (kernel != 0).any(axis=(2, 3)).astype(int)
    paths = (flat.reshape(5, channels, pixels) != 0).sum(axis=2) @ live
    assert chain.reachable == pytest.approx((paths > 0).mean())
    assert chain.odd_paths == pytest.approx((paths % 2).mean())
    assert (chain.lost_input_units, chain.unreached_output_units) == cut_off_in(paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MANY", 0)
        (degrees,) = audit_chain(rows)
    assert replace(degrees, odd_paths=chain.odd_paths, reason=None) == chain


def test_one_weight_under_two_names_is_counted_once():
    rows = [audit_weight(np.diag([1.0, 0.0]), name="a"), audit_weight(np.ones((2, 2)), name="b")]
    tied = skipped_row("emb", [2, 2], "float32", "embedding")
    rows = [replace(tied, tied_with=("a", "c")), replace(rows[0], tied_with=("emb", "c")), rows[1]]
    rows.append(replace(rows[1], name="c", tied_with=("a", "emb")))
    summary = audit_summary(rows)
    assert (summary.total_parameters, summary.audited_parameters, summary.kept_parameters) == (8, 8, 5)
    assert (summary.rows, summary.tensors, summary.dead_inputs) == (3, 4, 1)


def test_a_row_without_shape_counts_no_number_and_a_scalar_one():
    rows = [audit_weight(np.eye(2), name="a"), skipped_row("b", None, "unknown", "its shard is missing", kind="weight")]
    rows += [skipped_row("steps", [], "int64", "scalar"), skipped_row("optimizer", None, "", "optimizer state")]
    summary = audit_summary(rows)
    assert (summary.total_parameters, summary.unread) == (5, ("b",))
    assert rows[1].to_dict()["shape"] is None
