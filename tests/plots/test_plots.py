"""Pictures of spectra: what their artists hold, against counting; and the files, which are the same twice."""

import io

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from sao_cli.base.errors import SaoError
from sao_cli.measure.values.ks import ks_test
from sao_cli.models.audit.row import audit_weight
from sao_cli.plots import Curve, audit_figure, ecdf_figure, save_figure, spectrum_figure

RNG = np.random.default_rng(0)
METHODS = ("sao", "eoi", "rg-n", "rg-u", "rg-s", "lmp", "lrp", "xnet")
ONES = np.ones(64) + RNG.normal(scale=1e-13, size=64)
HALF = np.repeat([0.0, 1.0], 32) + np.abs(RNG.normal(scale=1e-13, size=64))
BROAD = RNG.random(64)


def dense(values=ONES, activation="linear"):
    return Curve("dense (reference)", activation, values)


def compared(curves, references):
    beside = {reference.activation: reference.values for reference in references}
    return [ks_test(curve.values, beside[curve.activation], resolution=1e-9) for curve in curves]


def cdf_figure(curves, references):
    return ecdf_figure(curves, references, compared(curves, references))


def line(panel, label):
    (found,) = [line for line in panel.lines if line.get_label() == label]
    return found


def marked(panel, label):
    """Middle and height of each bin that holds something."""
    found = line(panel, label)
    return found.get_xydata()[found.get_markevery()].T


def segments(panel):
    """(x, low, high) of each."""
    return [(*set(line.get_xdata()), *sorted(line.get_ydata())) for line in panel.lines if line.get_marker() == "_"]


def in_legend(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_a_panel_an_activation_in_the_order_given():
    curves = [Curve(method, name, BROAD) for name in ("tanh", "linear", "relu") for method in ("sao", "lmp")]
    references = [dense(BROAD, name) for name in ("relu", "linear", "tanh")]
    for figure, y_label in (
        (spectrum_figure(curves, references), "fraction of singular values\n(square-root scale)"),
        (cdf_figure(curves, references), "cumulative fraction"),
    ):
        assert [panel.get_title() for panel in figure.axes] == ["tanh", "linear", "relu"]
        assert (figure.get_supxlabel(), figure.get_supylabel()) == ("singular value\nn = 64 values a curve", y_label)
        assert in_legend(figure.legends[0]) == ["dense (reference)", "sao", "lmp"]
        for panel in figure.axes:
            assert line(panel, "sao").get_color() != line(panel, "lmp").get_color()


def test_point_masses_and_broad_spectra_are_whole():
    curves = [Curve("sao", "linear", ONES), Curve("lmp", "linear", HALF), Curve("lrp", "linear", BROAD)]
    (panel,) = spectrum_figure(curves, [dense()]).axes
    xs, fractions = marked(panel, "sao")
    assert xs == pytest.approx([1], abs=1e-12)
    assert fractions.tolist() == [1]
    xs, fractions = marked(panel, "lmp")
    assert xs == pytest.approx([0, 1], abs=1e-12)
    assert fractions.tolist() == [0.5, 0.5]
    middles = line(panel, "lmp").get_ydata()[2:-1:3]
    assert np.isnan(middles).sum() == len(middles) - 2  # no line runs along the axis where nothing is
    xs, fractions = marked(panel, "lrp")
    assert fractions.sum() == pytest.approx(1)
    assert panel.get_ylim()[1] > 1
    assert panel.get_xlim()[0] < 0 < 1 < panel.get_xlim()[1]
    (area,) = panel.patches
    values, edges, _ = area.get_data()
    assert values.sum() == 1
    assert values[np.searchsorted(edges, 1) - 1] == 1
    single = 0.01
    low, high = panel.transData.transform([(0, 0), (0, single)])[:, 1]
    whole = panel.transData.transform((0, 1))[1]
    assert (high - low) / (whole - low) == pytest.approx(np.sqrt(single))


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=40), st.floats(1e-6, 1e6))
def test_bins_hold_what_is_nearest_to_their_middles(shape, scale):
    values = np.array(shape) * scale
    (panel,) = spectrum_figure([Curve("a", "linear", values)], []).axes
    middles, fractions = marked(panel, "a")
    edges = line(panel, "a").get_xdata()[1:-1].reshape(-1, 3)
    width = edges[0, 2] - edges[0, 0]
    assert width == pytest.approx(edges[:, 2] - edges[:, 0])
    assert fractions.sum() == pytest.approx(1)
    for middle, fraction in zip(middles, fractions, strict=True):
        near = np.abs(values - middle) / width
        assert (near < 0.5 - 1e-5).sum() <= round(fraction * len(values)) <= (near < 0.5 + 1e-5).sum()
    assert min(np.abs(edges[:, 1])) < 1e-9 * width
    if width < 1:
        assert (1 / width) % 4 == pytest.approx(0, abs=1e-6) or (1 / width) % 4 == pytest.approx(4, abs=1e-6)
        assert values.max() < 1e-6 or len(edges) >= 16


def test_references_of_the_layers_of_a_stack_are_pooled_or_drawn_one_by_one():
    curves = [Curve(f"sao, layer {k}", "relu", values) for k, values in enumerate((HALF, BROAD), 1)]
    references = [dense(np.zeros(10), "relu"), dense(np.ones(30), "relu")]
    (panel,) = spectrum_figure(curves, references).axes
    values, _, _ = panel.patches[0].get_data()
    assert sorted(values[values > 0]) == [0.25, 0.75]
    tests = [ks_test(curve.values, other.values) for curve, other in zip(curves, references, strict=True)]
    figure = ecdf_figure(curves, references, tests)
    assert in_legend(figure.legends[0]) == ["dense (reference)", "sao, layer 1", "sao, layer 2"]
    told = [f"D = {test.statistic:.2g}" for test in tests]
    assert in_legend(figure.axes[0].get_legend()) == told


def test_a_spectrum_without_a_reference_and_an_approximate_one():
    figure = spectrum_figure([Curve("lrp", "tanh", BROAD, exact=False), Curve("sao", "tanh", BROAD)], [])
    assert in_legend(figure.legends[0]) == ["lrp (approximate)", "sao"]
    assert not figure.axes[0].patches


SAMPLES = st.lists(st.integers(0, 12), min_size=1, max_size=12)


@settings(max_examples=20)
@given(SAMPLES, SAMPLES, st.sampled_from([0.0, 0.25, 1.0, 2.5]))
def test_the_segment_is_as_long_as_d_and_stands_where_it_is_attained(ours, theirs, resolution):
    ours, theirs = np.array(ours), np.array(theirs)
    test = ks_test(ours, theirs, resolution=resolution)
    (panel,) = ecdf_figure([Curve("a", "linear", ours)], [dense(theirs)], [test]).axes
    if test.statistic == 0:
        assert segments(panel) == []
        assert in_legend(panel.get_legend()) == ["D = 0"]
        return
    ((x, low, high),) = segments(panel)
    assert high - low == pytest.approx(test.statistic, abs=1e-12)
    ends = {
        ((first <= x).mean(), (second <= x + resolution).mean()) for first, second in ((ours, theirs), (theirs, ours))
    }
    assert any((high, low) == pytest.approx(pair, abs=1e-12) for pair in ends)
    assert f"D = {test.statistic:.2g}" in [text.get_text() for text in panel.texts]


@settings(max_examples=20)
@given(SAMPLES)
def test_an_empirical_cdf_is_the_fraction_up_to_each_x(sample):
    sample = np.array(sample)
    (panel,) = cdf_figure([Curve("a", "linear", sample)], [dense(np.ones(3))]).axes
    xs, ys = line(panel, "a").get_data()
    for x in np.arange(-0.5, 14) * 0.999:
        if xs[0] <= x < xs[-1]:
            assert ys[np.searchsorted(xs, x, side="right") - 1] == pytest.approx((sample <= x).mean())
    assert (ys[0], ys[-1]) == (0, 1)
    assert ((np.diff(xs) == 0) | (np.diff(ys) == 0)).all()


def test_segments_between_point_masses_stand_apart():
    curves = [Curve(method, "linear", np.zeros(8)) for method in METHODS[:3]]
    (panel,) = cdf_figure(curves, [dense()]).axes
    found = segments(panel)
    assert [high - low for _, low, high in found] == [1, 1, 1]
    assert [x for x, _, _ in found] == pytest.approx([0.25, 0.5, 0.75])
    assert in_legend(panel.get_legend()) == ["D = 1"] * 3
    colours = [line.get_color() for line in panel.lines if line.get_marker() == "_"]
    assert colours == [line(panel, method).get_color() for method in METHODS[:3]]


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-90, 1e-3, 16.0, 17.0, 1e9, 1e90])
def test_spectra_of_any_scale_are_drawn(value):
    curves = [Curve("a", "linear", [value, value / 2]), Curve("b", "linear", [value])]
    for figure in (spectrum_figure(curves, [dense([value])]), cdf_figure(curves, [dense([value])])):
        figure.draw_without_rendering()
        low, high = figure.axes[0].get_xlim()
        assert low < 0 <= value < high


def test_eleven_activations_and_eight_methods_are_legible():
    activations = [f"activation {k}" for k in range(11)]
    rng = np.random.default_rng(0)
    curves = [Curve(method, name, rng.random(64) * 3) for name in activations for method in METHODS]
    references = [dense(activation=name) for name in activations]
    for figure in (spectrum_figure(curves, references), cdf_figure(curves, references)):
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        assert width == 7
        assert height < 9
        inked = figure.get_tightbbox()
        assert 0 <= inked.x0 < inked.x1 <= width
        assert 0 <= inked.y0 < inked.y1 <= height
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7
        for panel in figure.axes:
            assert panel.get_window_extent().width > 0.2 * figure.bbox.width
            if panel.get_legend():  # the list of D, beside the curves
                end = panel.transData.transform((line(panel, "sao").get_xdata()[-1], 0))[0]
                assert panel.get_legend().get_window_extent().x0 > end
                assert panel.get_legend().get_window_extent().y1 < panel.bbox.y1
        looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in figure.legends[0].get_lines()}
        assert len(looks) >= len(METHODS)


def test_one_panel_fills_a_column():
    for figure in (spectrum_figure([Curve("sao", "tanh", BROAD)], []), cdf_figure([dense(BROAD)], [dense()])):
        assert figure.get_figwidth() == 3.5
        figure.draw_without_rendering()
        assert figure.axes[0].get_window_extent().width > 0.7 * figure.bbox.width


def test_what_is_left_out_is_said():
    curves = [Curve(f"layer {k}", f"activation {name}", BROAD) for name in range(25) for k in range(15)]
    figure = spectrum_figure(curves, [])
    assert len(figure.axes) == 20
    assert (
        figure.get_supxlabel()
        == "singular value (the first 20 of 25 activations, the first 12 of 15 curves)\nn = 64 values a curve"
    )
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in figure.axes[19].lines}
    assert len(looks) == len(figure.axes[19].lines) == 12
    figure = cdf_figure(curves[:45], [dense(activation=f"activation {name}") for name in range(3)])
    assert in_legend(figure.legends[0])[-1] == "layer 11"
    panel = figure.axes[-1]
    assert len(segments(panel)) == 12
    figure.draw_without_rendering()
    assert panel.get_legend().get_window_extent().y1 < panel.bbox.y1
    other = [Curve(f"other {k}", "softplus", BROAD) for k in range(12)]
    assert [panel.get_title() for panel in spectrum_figure([*other, *curves], []).axes] == ["softplus"]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_files_are_the_same_twice(tmp_path, kind):
    curves = [Curve(method, "tanh", BROAD**power) for power, method in enumerate(METHODS[:3], 1)]
    references = [dense(BROAD, "tanh")]
    for name, draw in (("spectrum", spectrum_figure), ("cdf", cdf_figure)):
        first, again = (tmp_path / f"{name}{k}.{kind}" for k in (1, 2))
        for path in (first, again):
            save_figure(draw(curves, references), str(path))
        assert first.read_bytes() == again.read_bytes()
        assert first.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")
        assert b"Date" not in first.read_bytes()
        if kind == "png":
            assert matplotlib.image.imread(io.BytesIO(first.read_bytes())).std() > 0.01


@pytest.mark.parametrize(
    ("values", "said"), [([], "no values"), ([1, np.nan], "nan"), ([np.inf], "inf"), ([-1e-3, 1], "-0.001")]
)
def test_what_is_no_spectrum(values, said):
    with pytest.raises(SaoError, match=f"^lmp, tanh: .*{said}") as error:
        Curve("lmp", "tanh", np.array(values, dtype=float))
    assert "\n" not in str(error.value)


def test_curves_keep_their_values_ascending_and_apart_from_the_callers():
    values = np.array([3.0, 1.0, 2.0])
    assert Curve("sao", "linear", values).values.tolist() == [1, 2, 3]
    assert values.tolist() == [3, 1, 2]


def test_what_does_not_belong_together():
    sao, lmp = Curve("sao", "linear", ONES), Curve("lmp", "linear", HALF)
    tests = compared([sao, lmp], [dense()])
    with pytest.raises(SaoError, match="2 curves and 1 KS tests"):
        ecdf_figure([sao, lmp], [dense()], tests[:1])
    with pytest.raises(SaoError, match=r"sao, linear: its KS test says 0\.5, and the values drawn are 0 from"):
        ecdf_figure([sao, lmp], [dense()], tests[::-1])
    with pytest.raises(SaoError, match="lmp, linear: no reference"):
        ecdf_figure([lmp], [dense(activation="tanh")], tests[1:])
    for draw in (spectrum_figure, cdf_figure):
        with pytest.raises(SaoError, match="no singular values to draw"):
            draw([], [])
        with pytest.raises(SaoError, match="2 references for 1 activations and 1 curves"):
            draw([lmp], [dense(), dense()])


def test_an_audit_without_singular_values_has_no_legend(tmp_path):
    figure = audit_figure([audit_weight(np.ones((4, 2, 3, 3)), name="a kernel, and no image")])
    save_figure(figure, str(tmp_path / "p.png"))
    assert not figure.legends
