"""Pictures of deep Jacobians: what their artists hold, against moments and counts taken another way; and the files."""

import dataclasses
import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.integrate
from matplotlib.text import Text

from sao_cli.base.errors import SaoError
from sao_cli.plots import depth_figure, depth_histogram_figure, save_figure
from sao_cli.plots.depth_rows import PowerAxis, is_geometric
from sao_cli.plots.depths import predicted_moments
from sao_cli.reports.networks import DepthJacobian

RNG = np.random.default_rng(0)
PREDICTION = "≈ mean field"


def row(depth, log10_values, *, method="sao", activation="tanh", gain=1.0, n=None, dtype="float64", predicted=None):
    """A row as nets.jacobians.chain makes it: mean and variance are None where they are too large for float64."""
    values = -np.sort(-np.atleast_2d(np.asarray(log10_values, dtype=float)))
    resolved = values[np.isfinite(values)]
    held = values.max() <= 150
    sigma = 10.0 ** (values if held else values - values.max())
    n = values.shape[1] if n is None else n
    return DepthJacobian(
        depth=depth,
        method=method,
        activation=activation,
        gain=gain,
        m=n,
        n=n,
        inputs=len(values),
        mean=float(sigma.mean()) if held else None,
        variance=float(sigma.var()) if held else None,
        log10_sigma_max=resolved.max() if resolved.size else None,
        log10_sigma_min=resolved.min() if resolved.size else None,
        log10_mean=resolved.mean() if resolved.size else None,
        log10_std=resolved.std() if resolved.size else None,
        rank=resolved.size / len(values),
        resolved=resolved.size / values.size,
        participation=0.0,
        predicted_log10_mean_square=predicted and predicted[0],
        predicted_relative_variance=predicted and predicted[1],
        device="cpu",
        dtype=dtype,
        reason=None,
        log10_values=values,
    )


def near_one(depth, **named):
    return row(depth, np.random.default_rng(depth).normal(scale=0.1, size=(2, 8)), **named)


def line(panel, label):
    (found,) = [line for line in panel.lines if line.get_label() == label]
    return found


def dotted(panel):
    """The predictions, in the order of the lines."""
    return [line for line in panel.lines if line.get_linestyle() == ":" and len(line.get_xdata())]


def in_legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def tick(panel, text):
    """Where the tick of this label is."""
    labels = [label.get_text() for label in panel.get_yticklabels()]
    return panel.get_yticks()[labels.index(text)]


def exact_log10_moments(log10_values):
    """log10 of the mean and the variance, with 60 digits and exponents without end."""
    with localcontext() as context:
        context.prec = 60
        sigma = [Decimal(10) ** Decimal(float(value)) for value in np.ravel(log10_values)]
        mean = sum(sigma) / len(sigma)
        variance = sum((one - mean) ** 2 for one in sigma) / len(sigma)
        return float(mean.log10()), float(variance.log10())


def test_means_and_variances_near_one_are_drawn_as_they_are():
    rows = [near_one(depth, method=method) for method in ("sao", "dense") for depth in (200, 50, 1000)]
    figure = depth_figure(rows)
    mean, variance = figure.axes
    assert in_legend(figure) == ["sao", "dense"]
    assert (mean.get_title(), figure.get_supxlabel()) == ("tanh", "depth\nn = 8, at 2 inputs")
    assert (mean.get_ylabel(), variance.get_ylabel()) == ("mean singular value", "variance of singular values")
    for method, found in (("sao", rows[:3]), ("dense", rows[3:])):
        by_depth = sorted(found, key=lambda row: row.depth)
        for panel, name in ((mean, "mean"), (variance, "variance")):
            xs, ys = line(panel, method).get_data()
            assert xs.tolist() == [50, 200, 1000]
            assert ys == pytest.approx([getattr(row, name) for row in by_depth], rel=1e-12)
    assert mean.lines[0].get_ydata() == [1, 1]
    assert dotted(mean) == []


@pytest.mark.parametrize("shift", [-700.0, -6.0, 250.0, 700.0])
def test_moments_that_leave_float64_are_drawn_where_they_belong(shift):
    logs = [shift + depth / 100 + np.random.default_rng(depth).normal(size=(2, 6)) for depth in (100, 200)]
    figure = depth_figure([row(depth, values) for depth, values in zip((100, 200), logs, strict=True)])
    for which, panel in enumerate(figure.axes):
        truth = np.array([exact_log10_moments(values)[which] for values in logs])
        drawn = line(panel, "sao").get_ydata()
        wide = which == 0 and abs(shift) > 12  # the mean's axis holds 1 too
        assert drawn == pytest.approx(np.arcsinh(truth) if wide else truth, abs=1e-9)
        start, stop = panel.get_ylim()
        assert start < drawn.min() <= drawn.max() < stop


def test_what_is_nothing_stands_at_the_tick_0_below_the_powers():
    dead = np.full((1, 4), -np.inf)
    rows = [row(1, [0.0, -1.0, -2.0, -3.0]), row(10, [-6.0, -7.0, -8.0, -9.0]), row(100, dead)]
    for panel in depth_figure(rows).axes:
        ys = line(panel, "sao").get_ydata()
        assert ys[2] == tick(panel, "0")
        assert panel.get_ylim()[0] < ys[2] < ys[1] < ys[0]
        assert all(
            label == "0" or label.startswith("$10^{") for label in (x.get_text() for x in panel.get_yticklabels())
        )
    mean, variance = depth_figure([row(3, dead)]).axes
    assert line(mean, "sao").get_ydata().tolist() == [0]
    assert line(variance, "sao").get_ydata().tolist() == [0]


def test_a_variance_that_is_a_power_of_ten_stands_between_two():
    alone = dataclasses.replace(row(5, [0.0, -0.0001]), variance=1e-8)
    panel = depth_figure([alone]).axes[1]
    assert line(panel, "sao").get_ydata() == pytest.approx([-8])
    assert panel.get_ylim()[0] < -8 < panel.get_ylim()[1]


def test_a_variance_of_rounding_is_none():
    wide = row(50, [0.0, -2.0], method="rg-n")
    for dtype, spread, is_nothing in (
        ("float64", 1e-15, True),
        ("float64", 1e-12, False),
        ("float32", 1e-7, True),
        ("float32", 1e-2, False),
    ):
        even = row(50, np.array([[100.0 + spread, 100.0]]), dtype=dtype)
        panel = depth_figure([even, wide]).axes[1]
        ticks = [label.get_text() for label in panel.get_yticklabels()]
        assert ("0" in ticks) == is_nothing
        if is_nothing:
            assert line(panel, "sao").get_ydata() == tick(panel, "0")


def test_names_tell_what_the_lines_differ_in():
    rows = [near_one(5, activation=name) for name in ("tanh", "relu")]
    assert in_legend(depth_figure(rows)) == ["sao, tanh", "sao, relu"]
    rows = [near_one(5, gain=gain) for gain in (1.0, 1.1)]
    assert in_legend(depth_figure(rows)) == ["sao, gain 1", "sao, gain 1.1"]
    rows = [near_one(5, n=n) for n in (8, 16)]
    assert in_legend(depth_figure(rows)) == ["sao, n = 8", "sao, n = 16"]
    first, second = depth_figure(rows).axes[1].lines
    for look in ("color", "linestyle", "marker"):
        assert getattr(first, f"get_{look}")() != getattr(second, f"get_{look}")()
    layers = [near_one(depth, n=n) for depth, n in ((1, 16), (2, 8))]  # of one stack, layer by layer
    assert in_legend(depth_figure(layers)) == ["sao"]


def test_many_lines_of_several_activations_stand_apart():
    methods, activations = ("dense", "sao", "rg-n", "rg-u", "lmp", "gmp"), [f"phi {k}" for k in range(11)]
    rows = [
        near_one(depth, method=method, activation=name)
        for method in methods
        for name in activations
        for depth in (50, 1000)
    ]
    figure = depth_figure(rows)
    assert len(figure.axes) == 22
    assert sorted(panel.get_title() for panel in figure.axes if panel.get_title()) == sorted(activations)
    assert in_legend(figure) == list(methods)
    assert figure.get_supxlabel().startswith("depth\nn = 8, at 2 inputs")
    of = {panel.get_title(): panel for panel in figure.axes}["phi 3"]
    truth = [found.mean for found in rows if (found.method, found.activation) == ("lmp", "phi 3")]
    assert line(of, "lmp").get_ydata() == pytest.approx(truth)
    assert_legible(figure)
    figure = depth_figure([near_one(5, method=f"method {k}") for k in range(15)])
    assert figure.get_supxlabel() == "depth (the first 12 of 15 lines)\nn = 8, at 2 inputs"
    assert in_legend(figure)[-1] == "method 11"


def assert_legible(figure):
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    assert width in (3.5, 7.0)
    assert height < 11
    inked = figure.get_tightbbox()
    assert -0.01 <= inked.x0 < inked.x1 <= width + 0.01
    assert -0.01 <= inked.y0 < inked.y1 <= height + 0.01
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7


@pytest.mark.parametrize("draw", [depth_figure, depth_histogram_figure])
def test_one_method_fills_a_column_and_axes_say_what_they_are(draw):
    figure = draw([near_one(depth) for depth in (1, 2, 4)])
    assert figure.get_figwidth() == 3.5
    assert_legible(figure)
    assert figure.axes[0].get_window_extent().width > 0.7 * figure.bbox.width
    assert figure.get_supxlabel().startswith("depth\nn = 8, at 2 inputs")


@pytest.mark.parametrize("depths", [[7], [1, 1000], range(1, 26), range(1, 1001, 3)])
def test_marks_stand_at_the_depths(depths):
    rows = [row(depth, [0.1, 0.0], predicted=(0.0, 0.5)) for depth in depths]
    for panel in depth_figure(rows).axes:
        drawn = line(panel, "sao")
        assert drawn.get_xdata().tolist() == list(depths)
        start, step = drawn.get_markevery()
        marked = len(range(start, len(depths), step))
        assert marked == len(depths) if len(depths) <= 25 else 7 <= marked <= 8
        (prediction,) = dotted(panel)
        assert (prediction.get_marker() == "_") == (len(depths) == 1)  # a line of one point shows nothing
        left, right = panel.get_xlim()
        assert left < min(depths) <= max(depths) < right


@pytest.mark.parametrize(
    ("depths", "scale", "labels"),
    [
        ([1, 10, 100, 1000], "log", ["1", "10", "100", "1000"]),
        ([50, 200, 400, 600, 800, 1000], "linear", ["50", "200", "400", "600", "800", "1000"]),
        ([7], "linear", ["7"]),
        ([1, 2, 1000], "log", ["1", "2", "1000"]),
        ([998, 999, 1, 500, 1000], "linear", ["1", "500", "1000"]),
    ],
)
def test_few_depths_have_a_tick_each_where_their_labels_have_room(depths, scale, labels):
    figure = depth_figure([near_one(depth) for depth in depths])
    figure.draw_without_rendering()
    panel = figure.axes[1]
    assert panel.get_xscale() == scale == ("log" if is_geometric(np.unique(depths)) else "linear")
    assert [label.get_text() for label in panel.get_xticklabels()] == labels
    boxes = [label.get_window_extent() for label in panel.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("low", "high"), [(-0.3, 0.4), (-2.5, 0), (-11, 1), (-13, 0), (-33, 2), (-290, 38), (0, 41), (-2100, 208)]
)
def test_powers_of_ten_are_labelled_apart_and_in_order(low, high):
    figure = depth_figure([row(1, [low, low - 1]), row(2, [high, high])])
    figure.draw_without_rendering()
    for panel in figure.axes:
        boxes = [label.get_window_extent() for label in panel.get_yticklabels()]
        assert all(below.y1 < above.y0 + 1 for below, above in itertools.pairwise(boxes))
    axis = PowerAxis(low, high)
    exponents = np.linspace(low, high, 50)
    places = axis.place(exponents)
    assert (np.diff(places) > 0).all()
    assert axis.ends == (places[0], places[-1])
    assert places == pytest.approx(
        exponents if high - low <= 12 else np.log(exponents + np.hypot(exponents, 1)), abs=1e-9
    )


def mean_by_quadrature(relative_variance):
    """E of the root of a law with S-transform exp(-v z): Haagerup and Moeller's integral over t = sin(angle)^2."""

    def integrand(angle):
        return 2 * math.sin(angle) ** 2 * math.exp(-relative_variance * math.cos(angle) ** 2 / 2)

    return 2 / math.pi * scipy.integrate.quad(integrand, 0, math.pi / 2, epsabs=0, epsrel=1e-12, limit=200)[0]


@pytest.mark.parametrize("relative_variance", [0.0, 1e-12, 1e-5, 0.1, 1.0, 30.0, 1000.0])
def test_predicted_moments_are_those_of_the_limit_law(relative_variance):
    log10_mean, log10_variance = predicted_moments(6.0, relative_variance)
    mean = mean_by_quadrature(relative_variance)
    assert log10_mean == pytest.approx(3 + math.log10(mean), abs=1e-10)
    if relative_variance >= 0.1:
        assert log10_variance == pytest.approx(6 + math.log10(1 - mean**2), abs=1e-9)
    elif relative_variance:
        assert log10_variance == pytest.approx(6 + math.log10(relative_variance / 4), abs=1e-5)
    else:
        assert log10_variance == -math.inf


def test_predicted_moments_are_met_by_products_of_many_factors_near_one():
    """Over four products: within four standard errors, and what 60 factors are short of the limit, of order 1/60."""
    n, layers, spread = 100, 60, 0.12
    scales, moments = np.repeat([1 - spread, 1 + spread], n // 2), []
    for seed in range(4):
        rng, product = np.random.default_rng(seed), np.eye(n)
        for _ in range(layers):
            rotation = np.linalg.qr(rng.normal(size=(n, n)))[0]
            product = np.sqrt(scales)[:, None] * (rotation @ product)
        sigma = np.linalg.svd(product, compute_uv=False)
        moments.append((sigma.mean(), sigma.var()))
    errors = np.std(moments, axis=0, ddof=1) / 2
    for found, error, predicted in zip(
        np.mean(moments, axis=0), errors, predicted_moments(0.0, layers * spread**2), strict=True
    ):
        assert found == pytest.approx(10**predicted, abs=4 * error + 10**predicted / layers)


def test_predicted_moments_come_near_those_of_deep_gaussian_products():
    layers = 300  # squared singular values follow the Fuss-Catalan law, whose moments are known at 1/2 too
    half = math.lgamma((layers + 1) / 2 + 1) - math.lgamma(1.5) - math.lgamma(layers / 2 + 1) - math.log(layers / 2 + 1)
    assert predicted_moments(0.0, layers)[0] == pytest.approx(half / math.log(10), abs=0.002)


def test_predictions_are_dotted_where_the_rows_have_them():
    rows = [row(depth, [0.0, -0.2], predicted=(-0.1 * depth, 0.01 * depth)) for depth in (1, 5, 9)]
    rows += [row(depth, [0.0, -0.2], method="lmp") for depth in (1, 5, 9)]
    figure = depth_figure(rows)
    assert in_legend(figure) == ["sao", "lmp", PREDICTION]
    for which, panel in enumerate(figure.axes):
        (sao,) = dotted(panel)
        truth = np.array([predicted_moments(-0.1 * depth, 0.01 * depth)[which] for depth in (1, 5, 9)])
        scaled = truth if any(label.get_text().startswith("$10") for label in panel.get_yticklabels()) else 10**truth
        assert sao.get_ydata() == pytest.approx(scaled, rel=1e-9)
        assert sao.get_color() == line(panel, "sao").get_color()
    orthogonal = [row(depth, [0.04 * depth, 0.04 * depth], predicted=(0.08 * depth, 1e-15)) for depth in (1, 9)]
    (prediction,) = dotted(depth_figure(orthogonal).axes[1])
    assert prediction.get_ydata().tolist() == [0, 0]  # rounding's variance is none


def vertices(area):
    return np.concatenate([path.vertices for path in area.get_paths()]).T


def surface(area):
    """By the shoelace formula, of every part."""
    parts = [path.vertices.T for path in area.get_paths()]
    return sum(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in parts)


SPECTRA = {
    1: RNG.normal(-1, 0.4, size=200),
    10: np.zeros(200),
    100: np.r_[RNG.normal(-3, 1, size=150), np.full(50, -np.inf)],
}


def test_few_depths_are_histograms_to_both_sides():
    (panel,) = depth_histogram_figure([row(depth, values) for depth, values in SPECTRA.items()]).axes
    assert panel.get_title() == "sao\ngrey: up to 25.0 % not resolved"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "10", "100"]
    one = vertices(panel.collections[1])[1]
    width = np.ptp(one)  # the bin of 1, whose middle it is
    assert one.max() == pytest.approx(width / 2)
    edges = (np.arange(-200, 200) + 0.5) * width
    for slot, (values, area) in enumerate(zip(SPECTRA.values(), panel.collections, strict=True)):
        xs, ys = vertices(area)
        assert (xs.min(), xs.max()) == pytest.approx((slot - 0.42, slot + 0.42))
        resolved = np.sort(values[np.isfinite(values)])
        counts = np.histogram(resolved, edges)[0]
        assert surface(area) == pytest.approx(2 * 0.42 * width * counts.sum() / counts.max())
        assert 0 <= resolved[0] - ys.min() < width
        assert 0 <= ys.max() - resolved[-1] < width
        whisker, median = panel.lines[2 * slot : 2 * slot + 2]
        assert whisker.get_ydata() == pytest.approx(resolved[[0, -1]])
        assert median.get_ydata() == pytest.approx([np.median(resolved)])


def test_what_is_not_resolved_is_a_share_below_the_axis():
    dead = np.full(200, -np.inf)
    rows = [row(depth, values) for depth, values in {**SPECTRA, 1000: dead}.items()]
    (panel,) = depth_histogram_figure(rows).axes
    assert panel.get_title() == "sao\ngrey: up to 100 % not resolved"
    heights = np.array([bar.get_height() for bar in panel.patches])
    assert heights / heights[3] == pytest.approx([0, 0, 0.25, 1])
    bottom = panel.get_ylim()[0]
    assert {bar.get_y() for bar in panel.patches} == {bottom}
    assert bottom + heights[3] <= min(vertices(area)[1].min() for area in panel.collections if area.get_paths())
    many = [row(depth, SPECTRA[100] if depth % 2 else dead, method="lmp") for depth in range(1, 41)]
    panel = depth_histogram_figure(many).axes[0]
    (stairs,) = panel.patches
    heights, edges, base = stairs.get_data()
    assert base == panel.get_ylim()[0]
    assert (heights - base) / (heights[1] - base) == pytest.approx([0.25, 1] * 20)
    assert edges == pytest.approx(np.arange(41) + 0.5)
    whole = depth_histogram_figure([row(1, SPECTRA[1])]).axes[0]
    assert whole.get_title() == "sao"


@pytest.mark.parametrize(("reach", "depths"), [(0.01, range(1, 201)), (0.5, [2**k for k in range(13)])])
def test_many_depths_are_a_heat_map(reach, depths):
    rng = np.random.default_rng(0)
    spectra = {depth: -reach * depth * rng.random((2, 60)) for depth in depths}
    panel, bar = depth_histogram_figure([row(depth, values) for depth, values in spectra.items()]).axes
    (mesh,) = panel.collections
    corners = np.asarray(mesh.get_coordinates())
    lefts, edges = corners[0, :, 0], corners[:, 0, 1]
    assert all(left < depth < right for left, depth, right in zip(lefts[:-1], depths, lefts[1:], strict=True))
    assert panel.get_xlim() == (lefts[0], lefts[-1])
    geometric = len(depths) < 200
    assert panel.get_xscale() == ("log" if geometric else "linear")
    between = [math.sqrt(a * b) if geometric else (a + b) / 2 for a, b in itertools.pairwise(depths)]
    assert lefts[1:-1] == pytest.approx(between)
    assert mesh.get_rasterized()
    assert np.diff(edges) == pytest.approx(np.full(len(edges) - 1, edges[1] - edges[0]))
    assert min(abs(edges[:-1] + edges[1:])) < 1e-9  # 1 is the middle of its bin
    compressed = reach * max(depths) > 12
    for column, values in zip(mesh.get_array().T, spectra.values(), strict=True):
        counts = np.histogram(np.arcsinh(values) if compressed else values, edges)[0]
        assert counts.sum() == values.size
        assert column.filled(0) == pytest.approx(counts / counts.max())
        assert (column.mask == (counts == 0)).all()
    faintest, strongest = mesh.to_rgba([1e-9, 1.0])
    assert faintest.min() < 0.9 > strongest.min()
    assert bar.get_ylabel() == "fraction of the fullest bin"


def test_panels_have_the_same_scale_and_are_named():
    rows = [
        row(depth, scale * np.arange(9.0), method=method)
        for method, scale in (("sao", -0.01), ("gmp", -40), ("rg-n", -1))
        for depth in (1, 5)
    ]
    figure = depth_histogram_figure(rows)
    assert [panel.get_title() for panel in figure.axes] == ["sao", "gmp", "rg-n"]
    assert figure.get_suptitle() == "tanh"
    assert len({panel.get_ylim() for panel in figure.axes}) == 1
    assert_legible(figure)
    more = [near_one(5, method=f"method {k}", activation=name) for k in range(3) for name in "abcdefghi"]
    figure = depth_histogram_figure(more)
    assert len(figure.axes) == 20
    assert figure.axes[1].get_title() == "method 0, b"
    assert figure.get_supxlabel().startswith("depth (the first 20 of 27 panels)\n")
    assert_legible(figure)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_files_are_the_same_twice(tmp_path, kind):
    rows = [row(depth, [0.0, -depth, -np.inf], predicted=(0.0, 1.0)) for depth in range(1, 15)]
    pictures = {
        "depth": lambda: depth_figure(rows),
        "few": lambda: depth_histogram_figure(rows[:2]),
        "many": lambda: depth_histogram_figure(rows),
    }
    for name, draw in pictures.items():
        first, again = (tmp_path / f"{name}{k}.{kind}" for k in (1, 2))
        for path in (first, again):
            save_figure(draw(), str(path))
        assert first.read_bytes() == again.read_bytes()
        assert first.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.parametrize("draw", [depth_figure, depth_histogram_figure])
def test_what_is_no_jacobian(draw):
    with pytest.raises(SaoError, match="no Jacobian to draw"):
        draw([])
    with pytest.raises(SaoError, match="sao, tanh: depth 0; "):
        draw([near_one(0)])
    for value in (np.nan, np.inf):
        wrong = near_one(3)
        wrong.log10_values[0, 1] = value
        with pytest.raises(SaoError, match=f"^sao, tanh, depth 3: the log10 value {value}; ") as error:
            draw([near_one(2), wrong])
        assert "\n" not in str(error.value)


def test_scales_that_are_not_linear_are_named():
    """Powers of ten stand closer the farther they are from 1 where there are many: no axis said so."""
    near, far = ([row(3, [-0.1, 0.0, 0.1])], [row(3, [-30.0, 0.0, 3.0])])
    assert depth_histogram_figure(near).get_supylabel() == "singular value\n(log scale)"
    assert depth_histogram_figure(far).get_supylabel() == "singular value\n(log scale, compressed away from 1)"
    assert depth_figure(near).axes[0].get_ylabel() == "mean singular value"


def test_layers_alone_are_no_depths():
    for draw in (depth_figure, depth_histogram_figure):
        assert draw([row(3, [0.0])], by_layer=True).get_supxlabel().startswith("layer, each alone\n")
