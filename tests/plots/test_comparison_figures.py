"""Pictures of comparisons: what is drawn where, named and told apart."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from sao_cli import LearningCurve, SaoError, compare_checkpoints, write_checkpoint
from sao_cli.plots.comparison_figures import curves_figure, fields_figure, layers_figure
from sao_cli.reports.comparisons import ComparedField


def curve(title, runs=1, field="test_accuracy", mean=(0.1, 0.8)):
    low, high = (tuple(one + shift * (runs > 1) for one in mean) for shift in (-0.05, 0.05))
    return LearningCurve(title, runs, field, (0, 1), mean, low, high)


def test_learning_curves_have_bands_and_names():
    figure = curves_figure(
        [curve("sao", 3), curve("snip"), curve("sao", 3, "test_loss"), curve("snip", 1, "test_loss")]
    )
    assert [panel.get_ylabel() for panel in figure.axes] == ["test accuracy", "test loss"]
    assert {panel.get_xlabel() for panel in figure.axes} == {"epoch"}
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sao (n = 3)", "snip"]
    first = figure.axes[0]
    assert [list(line.get_ydata()) for line in first.lines] == [[0.1, 0.8], [0.1, 0.8]]
    [band] = [one for one in first.collections if isinstance(one, PolyCollection)]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.05, 0.85))
    assert figure._supxlabel.get_text() == "means; bands from the least to the largest of n runs"
    assert curves_figure([curve("a"), curve("b")])._supxlabel is None


def test_too_many_curves_and_none_are_refused():
    with pytest.raises(SaoError, match="13 curves are too many"):
        curves_figure([curve(str(number)) for number in range(13)])
    with pytest.raises(SaoError, match="no learning curve"):
        curves_figure([])


def field(source, of, mean, **told):
    values = {"mean": mean, "std": None, "least": mean - 0.1, "largest": mean + 0.2, "count": 2, "failed": 0}
    gaps = dict.fromkeys(
        ("against", "difference", "difference_low", "difference_high", "pvalue", "pvalue_holm", "pvalue_rank", "reason")
    )
    return ComparedField(source=source, over={}, of=of, field="sigma_max", **values, **gaps | told)


def test_fields_stand_side_by_side_with_bars():
    rows = [field(source, {"layer": layer}, layer) for layer in (1, 2) for source in ("a", "b")]
    [panel] = fields_figure(rows).axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["1", "2"]
    assert panel.get_ylabel() == "largest singular value"
    lines = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_marker() in "os"]
    assert [list(line.get_ydata()) for line in lines] == [[1, 2], [1, 2]]
    assert lines[0].get_xdata()[0] < 0 < lines[1].get_xdata()[0]


def test_layers_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_checkpoint({"x.weight": rng.normal(size=(4, 4)), "y.weight": np.eye(4)}, f"{name}.safetensors")
    rows = compare_checkpoints({name: f"{name}.safetensors" for name in ("a", "b")})
    figure = layers_figure([row for row in rows if row.record == "layer"])
    told = {panel.get_ylabel(): panel for panel in figure.axes}
    assert list(told) == [
        *("largest singular value", "least singular value", "sparsity", "mask overlap with the first"),
        "distance from the first, relative",
    ]
    assert [text.get_text() for text in told["sparsity"].get_xticklabels()] == ["x.weight", "y.weight"]
    assert len(told["sparsity"].lines) == 2
    [line] = told["distance from the first, relative"].lines
    assert line.get_ydata()[1] == 0
    assert told["distance from the first, relative"].get_ylim()[1] > line.get_ydata()[0]
    with pytest.raises(SaoError, match="no layer to draw"):
        layers_figure([])


def test_many_layers_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint({f"{number}.weight": np.eye(2) for number in range(14)}, "a.safetensors")
    rows = compare_checkpoints(dict.fromkeys(("one", "two"), "a.safetensors"))
    figure = layers_figure([row for row in rows if row.record == "layer"])
    assert {panel.get_xlabel() for panel in figure.axes} == {"layer, from 0"}
