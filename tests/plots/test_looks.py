"""--title, --plot-width and --dpi: of every command that draws, and of nothing where nothing is drawn."""

import io
import itertools

import click
import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from sao_cli.base.errors import SaoError
from sao_cli.cli import COMMANDS, main
from sao_cli.plots import Curve, save_figure, spectrum_figure
from sao_cli.plots.figure import add_legend
from sao_cli.plots.sweep_figures import sweep_figure
from sao_cli.reports.sweeps import SweepSummary

LOOKS = {"title": "A title", "plot_width": "5", "dpi": "100"}


def curves(count=4):
    """So many lines of one panel, with a legend above it."""
    return spectrum_figure([Curve(f"method {k}", "linear", np.arange(1.0, 9)) for k in range(count)], [])


@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_draws_takes_the_same_options(name):
    """A second route to the commands: the option --plot itself."""
    command = main.get_command(click.Context(main), name)
    options = {option.name: option for option in command.params}
    draws = any("--plot" in option.opts for option in command.params)
    assert [other in options for other in LOOKS] == 3 * [draws]
    for other in LOOKS if draws else ():
        assert options[other].help.startswith("Of --plot: ")


@pytest.mark.parametrize("option", LOOKS)
@pytest.mark.parametrize("command", ["mask", "spectrum --d 4", "audit gone.safetensors", "sweep --over d=2 -- mask"])
def test_a_look_without_a_picture_is_refused(command, option):
    name = f"--{option.replace('_', '-')}"
    first, *rest = command.split()
    done = CliRunner().invoke(main, [first, name, LOOKS[option], *rest])
    assert (done.exit_code, done.stdout) == (2, "")
    assert ("No such option" if first == "mask" else f"{name} is of the picture of --plot") in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--plot-width", "nan"], "nan is no width in inches"),
        (["--plot-width", "0.5"], "1<=x<=40"),
        (["--dpi", "5000"], "20<=x<=1200"),
        (["--plot-width", "40", "--dpi", "1200"], "is too large; fewer dots an inch"),
        (["--plot-width", "1"], "a width of 1 inches has no room for these panels"),
    ],
)
def test_looks_that_no_picture_has(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    activations = ["--activation", "linear", "--activation", "tanh", "--activation", "relu"]
    done = CliRunner().invoke(main, ["spectrum", "--m", "8", "--n", "8", *activations, "--plot", "p.png", *given, "-q"])
    assert done.exit_code == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_picture_is_as_wide_as_asked_and_no_less_high(tmp_path):
    for width, dpi in itertools.product((2.5, 3.5, 7), (50, 100)):
        save_figure(figure := curves(), str(tmp_path / "p.png"), width=width, dpi=dpi)
        pixels = matplotlib.image.imread(tmp_path / "p.png").shape[1::-1]
        assert pixels == tuple(np.floor(figure.get_size_inches() * dpi + 1e-9))
        assert figure.get_figwidth() == width
        assert figure.get_figheight() >= curves().get_figheight() * max(width / 3.5, 1)


def test_a_legend_has_the_columns_that_a_width_has_room_for(tmp_path):
    """In a narrower picture it is in more rows, and never wider than the picture."""
    rows = {}
    for width in (2, 7):
        save_figure(figure := curves(6), str(tmp_path / "p.png"), width=width, dpi=100)
        [legend] = figure.legends
        assert legend.get_window_extent().width <= figure.bbox.width
        assert [text.get_text() for text in legend.get_texts()] == [f"method {k}" for k in range(6)]
        rows[width] = len({round(text.get_window_extent().y0) for text in legend.get_texts()})
    assert rows[2] > rows[7] == 1


def test_a_narrower_picture_keeps_the_marks_of_its_legend_and_all_of_its_caption(tmp_path):
    """Of error bars a legend keeps the bars alone, and a long caption left the picture at both ends."""
    over = [{"method": method, "d": d} for method in ("sao", "rg-n") for d in (2, 4)]
    told = [
        SweepSummary(over=one, of={}, field="x", mean=1, std=0, least=1, largest=2, count=3, failed=0) for one in over
    ]
    save_figure(figure := sweep_figure(told, "d"), str(tmp_path / "p.png"), width=2.5, dpi=100)
    marks = [type(handle).__name__ for handle in figure.legends[0].legend_handles]
    save_figure(same := sweep_figure(told, "d"), str(tmp_path / "p.png"), dpi=100)
    assert marks == [type(handle).__name__ for handle in same.legends[0].legend_handles]
    [panel], [wide] = figure.axes, same.axes
    assert panel.get_xlabel().split() == wide.get_xlabel().split()
    box = panel.xaxis.label.get_window_extent()
    assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1


def titled(kind):
    """Figures whose top has nothing, a title of their own, a legend, and a legend with a title."""
    figure = Figure(layout="constrained")
    figure.subplots().plot([0, 1], [0, 1], label="a line")
    if kind == "title":
        figure.suptitle("below")
    if kind.startswith("legend"):
        add_legend(figure, figure.axes)
    if kind == "legend and title":
        figure.legends[0].set_title("below")
    return figure


@pytest.mark.parametrize("kind", ["nothing", "title", "legend", "legend and title"])
def test_a_title_stands_above_all_and_on_nothing(kind, tmp_path):
    figure = titled(kind)
    save_figure(figure, str(tmp_path / "p.png"), title="A $title$", dpi=100)
    head = figure.legends[0].get_title() if figure.legends else figure._suptitle
    assert head.get_text() == "A \\$title\\$" + ("\nbelow" if kind.endswith("title") else "")
    others = [text.get_window_extent() for legend in figure.legends for text in legend.get_texts()]
    for box in (*others, *(panel.get_window_extent() for panel in figure.axes)):
        assert head.get_window_extent().y0 >= box.y1 - 1
    assert head.get_window_extent().y1 <= figure.bbox.y1


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_look_gives_the_same_bytes_twice(kind, tmp_path):
    first, second = (tmp_path / f"{name}.{kind}" for name in "ab")
    for path in (first, second):
        save_figure(curves(), str(path), title="A title", width=5, dpi=90)
    assert first.read_bytes() == second.read_bytes()


def test_what_is_too_large_is_told_before_it_is_drawn():
    with pytest.raises(SaoError, match="too large"):
        save_figure(curves(), str(io.StringIO()), width=40, dpi=1200)
