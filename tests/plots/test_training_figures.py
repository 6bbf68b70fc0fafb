"""Pictures of a training, against the rows that they are of."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from sao_cli.base.errors import SaoError
from sao_cli.cli import main
from sao_cli.plots import epoch_jacobian_figure, learning_figure

WORDS = {"arch": "fnn", "data": "digits", "method": "sao"}


def epoch(number, phase="train", **facts):
    told = {"epoch": number, "phase": phase, "jacobian": None} | WORDS
    for place, key in enumerate(("train_loss", "train_accuracy", "test_loss", "test_accuracy")):
        told[key] = number + place / 10
    return told | facts


def jacobian(**facts):
    told = {"m": 3, "n": 5, "inputs": 2, "mean": 1.0, "std": 0.25, "log10_sigma_max": 0.2, "log10_sigma_min": -0.2}
    return told | facts


def line(panel, label):
    [found] = [one for one in panel.lines if one.get_label() == label]
    return [list(map(float, values)) for values in (found.get_xdata(), found.get_ydata())]


def test_curves_are_of_both_sets_by_epoch():
    accuracy, loss = learning_figure([epoch(k) for k in range(4)]).axes
    assert line(accuracy, "train") == [[0, 1, 2, 3], [0.1, 1.1, 2.1, 3.1]]
    assert line(accuracy, "test") == [[0, 1, 2, 3], [0.3, 1.3, 2.3, 3.3]]
    assert line(loss, "train") == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert line(loss, "test") == [[0, 1, 2, 3], [0.2, 1.2, 2.2, 3.2]]
    assert loss.get_xlabel() == "epoch\nfnn on digits, sao\ntrain: mean over the epoch, as it learns"


def test_a_line_stands_where_a_training_was_pruned():
    rows = [epoch(0), epoch(1), epoch(2, "finetune"), epoch(3, "finetune")]
    for panel in learning_figure(rows).axes:
        assert line(panel, "pruned")[0] == [1.5, 1.5]
    assert not any(one.get_label() == "pruned" for one in learning_figure(rows[:2]).axes[0].lines)


def test_a_jacobian_is_its_range_its_mean_and_its_deviation():
    rows = [epoch(0, jacobian=jacobian()), epoch(1), epoch(2, jacobian=jacobian(mean=0.8))]
    [panel] = epoch_jacobian_figure(rows).axes
    assert line(panel, "mean") == [[0, 2], pytest.approx([1, 0.8])]
    assert line(panel, "largest") == [[0, 2], pytest.approx(2 * [10**0.2])]
    assert line(panel, "least") == [[0, 2], pytest.approx(2 * [10**-0.2])]
    spread = [part.get_segments() for part in panel.collections if part.get_label() == "± standard deviation"]
    np.testing.assert_allclose(spread[0][0][:, 1], [0.75, 1.25])
    assert "3 × 5, at 2 test images" in panel.get_xlabel()
    assert panel.get_ylabel() == "singular values"  # a linear scale needs no name


def test_what_spans_powers_of_ten_is_on_a_scale_that_is_named_and_what_is_not_resolved_is_0():
    rows = [epoch(0, jacobian=jacobian(log10_sigma_max=3.0, log10_sigma_min=None, mean=0.1, std=0.5))]
    [panel] = epoch_jacobian_figure(rows).axes
    assert panel.get_ylabel() == "singular values\n(log scale)"
    [least] = line(panel, "least")[1]
    assert panel.get_yticklabels()[0].get_text() == "0"
    assert math.isclose(least, panel.get_yticks()[0])


@pytest.mark.parametrize("draw", [learning_figure, epoch_jacobian_figure])
def test_without_rows_there_is_nothing_to_draw(draw):
    with pytest.raises(SaoError):
        draw([])


@pytest.mark.parametrize("picture", ["learning", "jacobian", None])
def test_a_training_draws_what_its_rows_tell(picture, monkeypatch):
    saved = []
    monkeypatch.setattr("sao_cli.plots.save_figure", lambda figure, path, **look: saved.append((figure, path, look)))
    asked = ["--widths", "8,8", "--epochs", "1", "--plot", "p.png", "--title", "T", "--dpi", "90"]
    done = CliRunner().invoke(main, ["train", *asked, *(["--picture", picture] if picture else [])])
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    [(figure, path, look)] = saved
    assert (path, look) == ("p.png", {"title": "T", "width": None, "dpi": 90})
    other = epoch_jacobian_figure(rows) if picture == "jacobian" else learning_figure(rows)
    for panel, same in zip(figure.axes, other.axes, strict=True):
        for mine, its in zip(panel.lines, same.lines, strict=True):
            np.testing.assert_array_equal(mine.get_xydata(), its.get_xydata())


def test_a_training_that_measures_no_jacobian_has_no_such_picture():
    asked = ["train", "--epochs", "0", "--jacobian-at", "none", "--plot", "p.png", "--picture", "jacobian"]
    done = CliRunner().invoke(main, asked)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is of the epochs of --jacobian-at" in done.stderr
