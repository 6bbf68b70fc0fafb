"""Eigenvalue conditions against graphs of known spectrum, and against dense numpy and networkx on random masks."""

import json
import math

import mpmath
import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import SaoError
from sao_cli.data.mask import Mask
from sao_cli.measure.graph import certificates, large_component
from sao_cli.measure.graph import component_edges as spectra
from sao_cli.measure.graph.expansion import expansion, is_ramanujan, mask_singular_values

from .. import known_graphs as known

ROUTES = ("dense svd", "gram matrix", "cholesky", "lanczos, upper bound fails with probability 1e-09")


def iteratively(monkeypatch):
    """No component is small."""
    monkeypatch.setattr(spectra, "DENSE_ENTRIES", 0)
    monkeypatch.setattr(spectra, "GRAM_SIDE", 0)


@pytest.fixture(params=ROUTES)
def route(request, monkeypatch):
    """Every component goes by this route, unless it has a closed form."""
    if request.param != "dense svd":
        monkeypatch.setattr(spectra, "DENSE_ENTRIES", 0)
    if request.param not in ("dense svd", "gram matrix"):
        iteratively(monkeypatch)
    if request.param.startswith("lanczos"):
        monkeypatch.setattr(large_component, "CHOLESKY_SIDE", 0)
    return request.param


def oracle(mask):
    """The facts that need eigenvalues or a graph search, from numpy's dense SVD and networkx."""
    values = np.append(np.linalg.svd(mask.to_dense(float), compute_uv=False), 0.0)
    rounded = np.unique(np.round(values, 9))[::-1]
    graph = mask.to_networkx()
    degrees = [{degree for node, degree in graph.degree if (node < mask.n) == side} for side in (True, False)]
    biregular = mask.nnz > 0 and all(len(side) == 1 for side in degrees)
    components = nx.number_connected_components(graph)
    return values, rounded, components, biregular


def check(mask, result):
    values, rounded, components, biregular = oracle(mask)
    slack = result.error + 1e-10
    direct = not {"cholesky", "lanczos", "ritz"} & set(result.certificate.replace(",", "").split())
    assert result.error_kind == "bound" if direct else result.error_kind in ("bound", "estimate")
    assert result.components == components
    assert result.connected == (components == 1)
    assert result.biregular == biregular
    assert result.lambda_1 == pytest.approx(values[0], abs=1e-10)
    assert abs(result.lambda_2 - values[1]) <= slack
    assert result.spectral_gap == result.lambda_1 - result.lambda_2
    if not biregular:
        assert abs(result.lambda_2_distinct - (rounded[1] if len(rounded) > 1 else 0.0)) <= 1e-8
        assert result.regularity_gap == pytest.approx(values[0] - mask.nnz / math.sqrt(mask.m * mask.n), abs=1e-10)
    else:
        nontrivial = values[components:] if components < len(values) else [0.0]
        assert abs(result.lambda_2_distinct - nontrivial[0]) <= slack
        assert result.regularity_gap == 0.0
    c, d = mask.nnz / mask.n, mask.nnz / mask.m
    if min(c, d) >= 1:
        assert result.bound == pytest.approx(math.sqrt(c - 1) + math.sqrt(d - 1))
        assert result.delta_s == result.bound - result.lambda_2
        if abs(values[1] - result.bound) > 1e-6:
            assert result.ramanujan is (components == 1 and bool(values[1] < result.bound))
        assert result.reason is None or result.holds is None or result.ramanujan is None
    else:
        assert result.bound is None
        assert result.delta_s is None
        assert result.ramanujan is False
        assert "no bound" in result.reason


def test_the_heawood_graph(route):
    result = expansion(known.projective_plane(2))
    assert result.lambda_2 == pytest.approx(math.sqrt(2), abs=1e-12)
    assert (result.lambda_1, result.c, result.d, result.components) == (3.0, 3, 3, 1)
    assert result.bound == pytest.approx(2 * math.sqrt(2))
    assert (result.ramanujan, result.ramanujan_paper, result.holds) == (True, True, True)
    assert result.certificate == route
    assert result.failure_probability == (1e-9 if route.startswith("lanczos") else 0.0)


@pytest.mark.parametrize(
    ("mask", "lambda_1", "lambda_2"),
    [
        (known.projective_plane(3), 4, math.sqrt(3)),
        (known.projective_plane(4), 5, 2),
        (known.projective_plane(5), 6, math.sqrt(5)),
        (known.generalised_quadrangle(2), 3, 2),
        (known.generalised_quadrangle(3), 4, math.sqrt(6)),
        (known.generalised_quadrangle(5), 6, math.sqrt(10)),
        (known.hypercube(3), 3, 1),
        (known.hypercube(6), 6, 4),
        (known.hypercube(8), 8, 6),
        (known.petersen_double_cover(), 3, 2),
        (known.affine_plane_less_a_class(), 16, 4),
    ],
    ids=["PG3", "PG4", "PG5", "W2", "W3", "W5", "Q3", "Q6", "Q8", "petersen", "affine"],
)
def test_known_spectra(route, mask, lambda_1, lambda_2):
    result = expansion(mask, criterion="standard")
    assert result.connected
    assert result.lambda_1 == lambda_1
    assert abs(result.lambda_2 - lambda_2) <= result.error < 1e-6
    assert result.lambda_2_distinct == result.lambda_2
    assert result.ramanujan is result.ramanujan_paper is result.holds is (lambda_2 <= 2 * math.sqrt(lambda_1 - 1))
    assert is_ramanujan(mask) is result.ramanujan


@pytest.mark.parametrize(("bits", "degree"), [(8, 7), (9, 40), (10, 64)])
def test_cayley_graphs_have_their_walsh_spectrum(route, bits, degree):
    mask, values, _ = known.cayley(bits, degree, 1)
    result = expansion(mask)
    second = np.sort(values)[-2]
    assert result.lambda_1 == degree
    assert abs(result.lambda_2 - second) <= result.error < 1e-6
    assert result.ramanujan is bool(second < result.bound)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_complete_graphs_have_a_closed_form(n):
    result = expansion(known.complete(n, n))
    assert (result.lambda_1, result.lambda_2, result.lambda_2_distinct) == (n, 0, 0)
    assert (result.ramanujan, result.ramanujan_paper, result.certificate) == (True, True, "closed form")
    assert result.error == 0
    assert result.failure_probability == 0
    assert is_ramanujan(known.complete(n, n)) is True


def test_an_sao_mask_is_what_the_paper_asks_for_and_not_ramanujan():
    mask = known.shuffled(known.union(*[known.complete(4, 4)] * 64), 1)
    result = expansion(mask)
    assert (result.components, result.connected, result.c, result.d) == (64, False, 4, 4)
    assert (result.lambda_1, result.lambda_2, result.lambda_2_distinct) == (4, 4, 0)
    assert (result.ramanujan, result.ramanujan_paper, result.holds) == (False, True, True)
    assert expansion(mask, criterion="standard").holds is False
    assert result.error == 0
    assert is_ramanujan(mask) is False


def test_integer_degrees_and_strict_json():
    report = expansion(known.projective_plane(2)).to_dict()
    assert type(report["c"]) is type(report["d"]) is int
    assert report["row_degree"] == [3, 3]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(("number", "bound"), [(0, 3), (1, 4), (2, 6), (3, 6)])
def test_a_tie_of_lambda_2_and_the_bound_holds(route, number, bound):
    mask = known.lambda_2_at_the_bound()[number]
    result = expansion(mask)
    assert (result.lambda_2, result.bound, result.delta_s) == (bound, bound, 0)
    assert result.ramanujan is result.ramanujan_paper is result.holds is True
    assert result.certificate.endswith("exact tie")
    assert (result.reason, result.error <= 1e-14) == (None, True)
    assert is_ramanujan(mask) is True


def test_ties_in_a_union_and_beside_worse(route):
    *_, tie, other = known.lambda_2_at_the_bound()
    result = expansion(known.shuffled(known.union(tie, other), 3))
    assert (result.ramanujan, result.ramanujan_paper, result.lambda_2, result.lambda_2_distinct) == (False, True, 10, 6)
    assert expansion(known.union(tie, known.two_complete_switched(10))).ramanujan_paper is False


def test_ties_are_left_open_on_sides_that_are_too_long(route, monkeypatch):
    monkeypatch.setattr(spectra, "TIE_SIDE", 17)
    result = expansion(known.lambda_2_at_the_bound()[1])
    assert result.ramanujan is result.ramanujan_paper is result.holds is None
    assert "too near to tell" in result.reason
    assert "exact ties are decided up to 512" in result.reason


def test_lanczos_gives_up_soon_where_only_rounding_is_left(monkeypatch):
    iteratively(monkeypatch)
    steps = []
    expansion(known.lambda_2_at_the_bound()[0], progress=lambda what, done, total: steps.append(done))
    assert max(steps) <= 20


@pytest.mark.parametrize(("m", "n", "density"), [(2, 2_000_000, 0.3), (6, 300_000, 0.5), (3, 400_000, 0.9)])
def test_long_rows_have_errors_that_are_bounds(m, n, density):
    """Sums of 600,000 ones drift: against eigenvalues of the whole numbers themselves, with 60 digits."""
    rng = np.random.default_rng(m)
    columns = np.flatnonzero(rng.random(m * n) < density)
    mask = Mask.from_entries(columns // n, columns % n, (m, n))
    result = expansion(mask)
    rows = mask.to_dense()
    counts = [[int(np.count_nonzero(one & other)) for other in rows] for one in rows]
    with mpmath.workdps(60):
        values = sorted(mpmath.eigsy(mpmath.matrix(counts), eigvals_only=True))
        first, second = mpmath.sqrt(values[-1]), mpmath.sqrt(values[-2])
        assert abs(result.lambda_2 - second) <= result.error
        assert abs(result.lambda_1 - first) <= result.error
    assert (result.error_kind, result.certificate) == ("bound", "gram matrix")
    assert result.error <= 1e-10 * result.lambda_1


@pytest.mark.parametrize("mask", [known.random_pattern(600, 900, 0.3, 0), known.random_lift(30, 20, 40, 1)])
def test_what_cholesky_certifies_is_bounded_on_both_sides(mask, monkeypatch):
    """The error is that of both the largest values, and no less than what a dense SVD says, by whatever route."""
    iteratively(monkeypatch)
    result = expansion(mask)
    first, second = np.linalg.svd(mask.to_dense(float), compute_uv=False)[:2]
    rounding = 1e-12 * first
    assert (result.certificate, result.error_kind) == ("cholesky", "bound")
    assert abs(result.lambda_2 - second) <= result.error + rounding
    assert result.error < 1e-5
    monkeypatch.setattr(large_component, "CHOLESKY_SIDE", 0)
    assert expansion(mask).error_kind == "estimate"


def test_one_factorisation_gives_the_verdict_and_a_certain_error(monkeypatch):
    iteratively(monkeypatch)
    taus = []

    def spy(gram, trivial, tau_squared, entries):
        taus.append(tau_squared)
        return certificates.cholesky_below(gram, trivial, tau_squared, entries)

    monkeypatch.setattr(large_component, "cholesky_below", spy)
    result = expansion(known.random_lift(4, 4, 60, 0))
    assert result.certificate == "cholesky"
    assert len(taus) == 1
    assert result.lambda_2**2 < taus[0] < result.bound**2
    assert taus[0] <= (result.lambda_2 + result.error) ** 2 < taus[0] + 1e-9


def test_a_bridge_between_two_complete_graphs_is_no_expander(route):
    mask = known.two_complete_switched(8)
    result = expansion(mask)
    check(mask, result)
    assert result.connected
    assert result.lambda_1 == 8
    assert 7 < result.lambda_2 < 8
    assert result.ramanujan is result.ramanujan_paper is False
    assert is_ramanujan(mask) is False


@pytest.mark.parametrize(("c", "d", "k"), [(3, 3, 30), (4, 4, 40), (3, 7, 25), (6, 3, 30), (2, 5, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_random_biregular_masks_match_a_dense_svd(route, c, d, k, seed):
    mask = known.random_lift(c, d, k, seed)
    result = expansion(mask, seed=seed)
    check(mask, result)
    assert result.ramanujan_paper in (None, result.lambda_2_distinct <= result.bound)
    assert is_ramanujan(mask) is result.ramanujan


@pytest.mark.parametrize(("m", "n", "density"), [(40, 40, 0.2), (60, 25, 0.1), (30, 80, 0.15), (120, 120, 0.012)])
@pytest.mark.parametrize("seed", range(3))
def test_random_irregular_masks_match_a_dense_svd(route, m, n, density, seed):
    mask = known.random_pattern(m, n, density, seed)
    check(mask, expansion(mask, seed=seed))
    assert is_ramanujan(mask) is expansion(mask).ramanujan


@pytest.mark.parametrize(
    "mask",
    [
        known.padded(known.projective_plane(3), 2, 3),
        known.padded(known.complete(3, 4), 1, 0),
        known.union(known.complete(2, 3), known.complete(3, 3), known.complete(1, 5)),
        known.union(known.projective_plane(2), known.projective_plane(3), known.cycle(5)),
        known.union(known.projective_plane(2), known.projective_plane(2)),
        known.union(known.cycle(3), known.cycle(7), known.cycle(2)),
        known.union(known.random_pattern(20, 30, 0.2, 1), known.random_pattern(30, 20, 0.2, 2)),
        known.union(*[known.random_pattern(4, 5, 0.5, seed) for seed in range(20)]),
        known.complete(1, 9),
        known.complete(9, 1),
        Mask.from_dense(np.eye(6)[[2, 0, 1, 5, 4, 3]]),
        Mask.from_dense([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]),
        Mask.from_dense([[1, 0, 1]]),
        Mask.from_dense([[0]]),
        Mask.from_dense(np.zeros((3, 5))),
        Mask.from_dense([[1]]),
        Mask.from_dense(np.triu(np.ones((12, 12)))),
    ],
)
def test_odd_masks_match_a_dense_svd(route, mask):
    check(mask, expansion(mask))
    check(mask.T, expansion(mask.T))
    expected = np.linalg.svd(mask.to_dense(float), compute_uv=False)
    assert mask_singular_values(mask) == pytest.approx(expected, abs=1e-10)


def test_a_disjoint_union_is_judged_by_its_worst_component(route):
    good, bad = known.random_lift(3, 3, 12, 0), known.union(known.hypercube(3), known.cycle(3))
    both = known.union(known.projective_plane(2), known.hypercube(3))
    result = expansion(both)
    assert (result.components, result.lambda_1, result.lambda_2) == (2, 3, 3)
    assert result.lambda_2_distinct == pytest.approx(math.sqrt(2), abs=1e-12)
    assert (result.ramanujan, result.ramanujan_paper) == (False, True)
    worst = expansion(known.union(known.hypercube(8), known.two_complete_switched(8)))
    assert worst.ramanujan_paper is False
    assert worst.lambda_2_distinct > 7
    assert expansion(known.union(good, bad)).ramanujan_paper is False  # irregular


@pytest.mark.parametrize("length", [3, 10, 1000, 300_000])
def test_a_cycle_is_ramanujan_however_long(length):
    columns = np.stack([np.arange(length), (np.arange(length) + 1) % length], axis=1)
    mask = Mask.from_entries(np.repeat(np.arange(length), 2), columns.reshape(-1), (length, length))
    result = expansion(mask, criterion="standard")
    assert result.lambda_2 == pytest.approx(2 * math.cos(math.pi / length), abs=1e-15)
    assert (result.lambda_1, result.bound, result.holds, result.certificate) == (2, 2, True, "closed form")
    assert is_ramanujan(mask) is True


def test_paths_have_a_closed_form():
    size = 300_000
    rows = np.concatenate((np.arange(size), np.arange(size - 1)))
    columns = np.concatenate((np.arange(size), np.arange(1, size)))
    result = expansion(known.shuffled(Mask.from_entries(rows, columns, (size, size)), 3))
    assert result.lambda_2 == pytest.approx(2 * math.cos(2 * math.pi / (2 * size + 1)), abs=1e-15)
    assert (result.connected, result.bound, result.certificate) == (True, None, "closed form") or result.bound < 2


def test_permutation_matrices():
    result = expansion(Mask.from_dense(np.eye(5)))
    assert (result.components, result.lambda_1, result.lambda_2, result.lambda_2_distinct) == (5, 1, 1, 0)
    assert (result.bound, result.ramanujan, result.ramanujan_paper) == (0, False, True)


def test_all_zero_and_dead_nodes():
    result = expansion(Mask.from_dense(np.zeros((2, 3))))
    assert (result.components, result.dead_outputs, result.dead_inputs, result.lambda_1) == (5, 2, 3, 0)
    assert (result.biregular, result.bound, result.holds) == (False, None, False)
    result = expansion(known.padded(known.projective_plane(2), 1, 2))
    assert (result.dead_outputs, result.dead_inputs, result.components) == (1, 2, 4)
    assert (result.row_degree, result.column_degree, result.biregular) == ((0, 3), (0, 3), False)
    result = expansion(known.padded(known.complete(3, 4), 0, 2))
    assert (result.row_degree, result.column_degree, result.dead_inputs) == ((4, 4), (0, 3), 2)


def test_too_few_steps_leave_the_verdict_open(monkeypatch):
    iteratively(monkeypatch)
    monkeypatch.setattr(large_component, "CHOLESKY_SIDE", 0)
    monkeypatch.setattr("sao_cli.measure.krylov.lanczos.STEP_LIMIT", 8)
    mask = known.random_lift(4, 4, 100, 0)
    result = expansion(mask)
    truth = np.linalg.svd(mask.to_dense(float), compute_uv=False)[1]
    assert result.holds is None
    assert "no certificate" in result.reason
    assert "stopped after 8 steps" in result.certificate
    assert result.lambda_2 < truth <= result.lambda_2 + result.error


def test_a_failing_mask_is_rejected_early(monkeypatch):
    iteratively(monkeypatch)
    calls = []
    mask = known.two_complete_switched(40)
    assert is_ramanujan(mask, progress=lambda *report: calls.append(report)) is False
    assert not any(what == "cholesky" for what, *_ in calls)


def test_the_same_seed_gives_the_same_report(route):
    mask = known.random_lift(3, 5, 30, 7)
    assert expansion(mask, seed=5) == expansion(mask, seed=5)


def test_progress_is_told_and_an_interrupt_passes(monkeypatch):
    iteratively(monkeypatch)
    mask = known.random_lift(4, 4, 120, 0)
    reports = []
    expansion(mask, progress=lambda what, done, total: reports.append((what, done, total)))
    assert ("lambda_2", 20, None) in reports

    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        expansion(mask, progress=interrupt)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "best"}, "unknown criterion 'best'; there are: paper, standard"),
        ({"failure_probability": 0.0}, "failure probability 0 is not between 0 and 1"),
        ({"failure_probability": 1.5}, "failure probability 1.5"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_what_is_refused(monkeypatch, options, message):
    iteratively(monkeypatch)
    with pytest.raises(SaoError, match=message):
        expansion(known.random_lift(3, 3, 10, 0), **options)


def test_a_component_too_large_for_all_its_values_is_refused(monkeypatch):
    iteratively(monkeypatch)
    monkeypatch.setattr(spectra, "EXACT_SIDE", 10)
    with pytest.raises(SaoError, match=r"component of 12 x 12 would take too long: .* up to 10 on the shorter side"):
        mask_singular_values(known.two_complete_switched(6))


@st.composite
def masks(draw):
    m, n = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    bits = draw(st.lists(st.booleans(), min_size=m * n, max_size=m * n))
    return Mask.from_dense(np.reshape(bits, (m, n)))


@given(masks())
def test_any_small_mask_matches_a_dense_svd(mask):
    check(mask, expansion(mask))
    expected = np.linalg.svd(mask.to_dense(float), compute_uv=False)
    assert mask_singular_values(mask) == pytest.approx(expected, abs=1e-10)


def swapped(result):
    """The report of the transpose, from that of the mask."""
    return {"c": result.d, "d": result.c, "row_degree": result.column_degree, "dead_inputs": result.dead_outputs}


@given(masks(), st.integers(0, 100))
def test_nothing_changes_under_permutation_and_transposition(mask, seed):
    one = expansion(mask)
    for other, exchanged in ((known.shuffled(mask, seed), False), (mask.T, True)):
        two = expansion(other)
        same = ("components", "biregular", "ramanujan", "ramanujan_paper", "certificate")
        assert [getattr(one, name) for name in same] == [getattr(two, name) for name in same]
        for name in ("lambda_1", "lambda_2", "lambda_2_distinct", "regularity_gap"):
            assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-12)
        if exchanged:
            assert all(getattr(two, name) == value for name, value in swapped(one).items())
