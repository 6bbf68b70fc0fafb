"""Pictures of a training that fuses: what they draw, against the rows that they are given."""

import itertools
import json

import pytest
from click.testing import CliRunner

from sao_cli.base.errors import SaoError
from sao_cli.cli import main
from sao_cli.plots import compression_figure, dimension_figure

SHAPES = ((6, 4), (6, 6), (3, 6))
STEPS = (  # the fusions of each epoch: (layer, axis)
    (),
    ((1, "columns"), (1, "rows")),
    (),
    ((2, "columns"), (0, "rows"), (1, "columns")),
)


def training(steps=STEPS, accuracies=(0.1, 0.5, 0.7, 0.75)):
    """Rows as metrics.jsonl has them, as far as pictures read them."""
    cores = [list(shape) for shape in SHAPES]
    for epoch, (fused, accuracy) in enumerate(zip(steps, accuracies, strict=True)):
        for layer, axis in fused:
            cores[layer][axis == "columns"] -= 1
        layers = [
            {"name": f"net.{2 * k}", "shape": shape, "core": tuple(core)}
            for k, (shape, core) in enumerate(zip(SHAPES, cores, strict=True))
        ]
        told = {"parameters": sum(m * n for m, n in cores), "cores": layers}
        told["fused"] = [{"name": f"net.{2 * layer}", "axis": axis} for layer, axis in fused]
        yield {"epoch": epoch, "test_accuracy": accuracy, "rare": told}


def lines(panel):
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in panel.lines]


def test_a_panel_has_both_sizes_by_epoch_and_marks_where_some_were_fused():
    rows = list(training())
    panels = dimension_figure(rows).axes
    assert len(panels) == len(SHAPES)
    for place, panel in enumerate(panels):
        cores = [row["rare"]["cores"][place]["core"] for row in rows]
        fused = [[axis for layer, axis in step if layer == place] for step in STEPS]
        expected = [([0, 1, 2, 3], [core[axis] for core in cores]) for axis in (0, 1)]
        for axis, name in enumerate(("rows", "columns")):
            at = [epoch for epoch, told in enumerate(fused) if name in told]
            expected.append((at, [cores[epoch][axis] for epoch in at]))
        assert lines(panel) == expected
    assert panels[1].get_title() == "net.2: 6 × 6\nto 5 × 4"


def test_compression_is_against_the_numbers_of_the_start_and_leaves_the_guess_out():
    rows = list(training())
    [panel] = compression_figure({"lambda 20": rows, "nothing": [row | {"rare": rows[0]["rare"]} for row in rows]}).axes
    start, *counts = [row["rare"]["parameters"] for row in rows]
    assert (start, counts) == (24 + 36 + 18, [24 + 25 + 18, 24 + 25 + 18, 20 + 20 + 15])
    (saved, accuracy), last, (zeros, _), _ = lines(panel)
    assert saved == pytest.approx([100 * (1 - one / start) for one in counts])
    assert accuracy == [0.5, 0.7, 0.75]
    assert last == (saved[-1:], [0.75])
    assert zeros == [0, 0, 0]


def test_a_run_of_epoch_0_alone_is_a_point():
    assert lines(compression_figure({"": list(itertools.islice(training(), 1))}).axes[0])[1] == ([0.0], [0.1])


@pytest.mark.parametrize("rows", [[], [{"epoch": 0, "test_accuracy": 0.1, "rare": None}]])
def test_rows_without_rare_are_refused(rows):
    for draw in (dimension_figure, lambda told: compression_figure({"": told})):
        with pytest.raises(SaoError, match="--rare trains with them"):
            draw(rows)


@pytest.mark.parametrize("picture", ["sizes", "accuracy"])
def test_a_training_draws_what_its_rows_tell(picture, monkeypatch):
    saved = []
    monkeypatch.setattr("sao_cli.plots.save_figure", lambda figure, path, **_: saved.append((figure, path)))
    asked = ["--widths", "8,8", "--rare", "20", "--tau-cos", "0.9", "--tau-euc", "99", "--check-every", "1"]
    asked += ["--epochs", "1", "--jacobian-at", "none", "--plot", "p.png", "--picture", picture]
    done = CliRunner().invoke(main, ["train", *asked])
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    [(figure, path)] = saved
    assert path == "p.png"
    assert rows[-1]["rare"]["fusions"] > 0
    other = dimension_figure(rows) if picture == "sizes" else compression_figure({"": rows})
    assert [lines(panel) for panel in figure.axes] == [lines(panel) for panel in other.axes]


@pytest.mark.parametrize("picture", ["sizes", "accuracy"])
def test_a_training_that_fuses_nothing_has_no_such_picture(picture):
    done = CliRunner().invoke(main, ["train", "--epochs", "0", "--plot", "p.png", "--picture", picture])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is of what --rare fuses" in done.stderr


def test_nothing_fused_away_is_a_share_of_a_percent_and_none_is_negative():
    still = [row | {"rare": next(training())["rare"]} for row in training()]
    [panel] = compression_figure({"": still}).axes
    assert panel.get_xlim() == (-0.03, 1.0)
    assert min(panel.get_xticks()[panel.get_xticks() >= -0.03]) == 0
