"""Pictures of what pruning left: what they hold, against counting what was written."""

import json

import click.testing
import matplotlib.image
import numpy as np
import pytest
from safetensors.numpy import load_file

from sao_cli import prune_checkpoint
from sao_cli.base.errors import SaoError
from sao_cli.cli import main
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.plots import (
    MaskImage,
    class_image_figure,
    image_sides,
    input_image_figure,
    layer_sparsity_figure,
    mask_image_figure,
    score_histogram_figure,
)

RNG = np.random.default_rng(14)
MODEL = {
    "0.weight": RNG.normal(size=(20, 64)),
    "2.weight": RNG.normal(size=(12, 20)),
    "4.weight": RNG.normal(size=(3, 12)),
}
ASKED = ("m.safetensors", "--method", "magnitude", "--sparsity", 0.9, "--no-facts")
SNIP = ("--method", "snip", "--activation", "relu")
PICTURES = ("layers", "inputs", "masks", "scores")  # which need no samples


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run("m.safetensors", ...): exit code, stdout and stderr of `sao prune` in a folder with models in it."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(MODEL, "m.safetensors")
    write_checkpoint({"0.weight": RNG.normal(size=(5, 64)), "1.weight": RNG.normal(size=(21, 5))}, "wide.safetensors")
    np.savez("many.npz", x=np.ones((21, 64)), y=np.arange(21))
    write_checkpoint({"0.weight": RNG.normal(size=(6, 20)), "1.weight": RNG.normal(size=(4, 6))}, "odd.safetensors")
    write_checkpoint({"0.weight": RNG.normal(size=(4, 2, 3, 3)), "1.weight": RNG.normal(size=(4, 4))}, "k.safetensors")

    def of(*arguments):
        done = click.testing.CliRunner().invoke(main, ["prune", *map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout_bytes, done.stderr

    return of


@pytest.fixture
def figures(monkeypatch):
    """What is saved, in the place of files."""
    saved = []
    monkeypatch.setattr("sao_cli.plots.save_figure", lambda figure, path, **_: saved.append(figure))
    return saved


def texts(panel):
    return [text.get_text() for text in panel.texts]


def test_layers_are_the_sparsities_of_the_report(run, figures):
    code, out, _ = run(*ASKED, "-o", "o.safetensors", "--plot", "p.png")
    rows = [json.loads(line) for line in out.splitlines()][:-1]
    assert code == 0
    (panel,) = figures[0].axes
    sparse, effective = ([bar.get_width() for bar in bars] for bars in panel.containers)
    assert sparse == [1 - np.count_nonzero(one) / one.size for one in load_file("o.safetensors").values()]
    assert effective == [row["effective_sparsity"] for row in rows]
    assert [label.get_text() for label in panel.get_yticklabels()] == list(MODEL)
    assert texts(panel) == [f"{100 * share:.1f} %" for share in sparse + effective]


def test_without_paths_there_is_no_effective_sparsity(run):
    side_by_side = {f"blocks.{at}.{kind}.weight": RNG.normal(size=(4, 4)) for at in range(7) for kind in ("q", "k")}
    write_checkpoint(side_by_side, "apart.safetensors")
    rows = prune_checkpoint("apart.safetensors", "o.safetensors", method="magnitude", sparsity=0.5, facts=False).rows
    assert {row.effective for row in rows} == {None}
    (panel,) = layer_sparsity_figure(rows).axes
    assert [len(bars) for bars in panel.containers] == [14]
    assert panel.get_ylabel() == "layer, from 0"
    assert not panel.texts


@pytest.mark.parametrize(("asked", "sides"), [((), (8, 8)), (("--image", "4x16"), (4, 16))])
def test_inputs_are_counts_of_what_reads_them(run, figures, asked, sides):
    assert run(*ASKED, "-o", "o.safetensors", "--plot", "p.png", "--picture", "inputs", *asked)[0] == 0
    panel, bar = figures[0].axes
    left = load_file("o.safetensors")["0.weight"] != 0
    np.testing.assert_array_equal(panel.images[0].get_array(), left.sum(axis=0).reshape(sides))
    assert bar.get_ylabel() == "outputs that read it, of 20"
    assert "0.weight" in figures[0].get_suptitle()


def test_a_first_layer_that_stays_is_drawn_as_it_is(run, figures):
    asked = ("m.safetensors", "--sparsity", 0.5, "--no-facts", "-o", "o.safetensors", "--plot", "p.png")
    assert run(*asked, "--picture", "inputs")[0] == 0  # lmp skips the ends
    assert (figures[0].axes[0].images[0].get_array() == 20).all()
    assert "100 % left" in figures[0].get_suptitle()


def test_classes_are_masks_of_their_own_samples(run, figures):
    """Each panel is the mask that scores of a file of that class's samples alone keep."""
    x, y = RNG.normal(size=(40, 64)), RNG.integers(2, size=40)
    told = ("--sparsity", 0.8, "--no-facts", "-o", "o.safetensors", "--plot", "p.png", "--picture")
    scored = ("m.safetensors", "--method", "snip", "--activation", "relu", "--data")
    np.savez("all.npz", x=x, y=y)
    code, _, err = run(*scored, "all.npz", *told, "classes")
    assert code == 0, err
    *panels, bar = figures[0].axes
    assert [panel.get_title().split("\n")[0] for panel in panels] == ["all", "class 0", "class 1"]
    assert bar.get_xlabel() == "weights left that read the pixel, of 20"
    for label, panel in zip((None, 0, 1), panels, strict=True):
        chosen = y == label if label is not None else slice(None)
        np.savez("one.npz", x=x[chosen], y=y[chosen])
        assert run(*scored, "one.npz", *told, "inputs")[0] == 0
        left = load_file("o.safetensors")["0.weight"] != 0
        np.testing.assert_array_equal(panel.images[0].get_array(), left.sum(axis=0).reshape(8, 8))
        assert panel.images[0].get_clim() == panels[0].images[0].get_clim()


def test_classes_have_the_masks_of_rounds(run, figures):
    np.savez("d.npz", x=RNG.normal(size=(12, 64)), y=np.arange(12) % 2)
    asked = ("m.safetensors", "--method", "force", "--rounds", 2, "--activation", "relu", "--data", "d.npz")
    told = ("--sparsity", 0.8, "--no-facts", "-o", "o.safetensors", "--plot", "p.png", "--picture", "classes")
    assert run(*asked, *told)[0] == 0
    assert len(figures[0].axes) == 4  # all, two classes, the bar of colours


def test_colours_of_classes_are_summed():
    mask = RNG.random((5, 48)) < 0.3
    *panels, bar = class_image_figure({"all": mask, "class 1": ~mask}).axes
    drawn = [panel.images[0].get_array() for panel in panels]
    np.testing.assert_array_equal(drawn[0], mask.sum(axis=0).reshape(3, 4, 4).sum(axis=0))
    np.testing.assert_array_equal(drawn[0] + drawn[1], np.full((4, 4), 15))
    assert bar.get_xlabel().endswith("of 15")


def test_colours_are_a_panel_each():
    mask = RNG.random((5, 48)) < 0.3
    *panels, _ = input_image_figure(mask).axes
    drawn = np.stack([panel.images[0].get_array() for panel in panels])
    np.testing.assert_array_equal(drawn, mask.sum(axis=0).reshape(3, 4, 4))


@pytest.mark.parametrize(("inputs", "image", "sides"), [(784, None, (1, 28, 28)), (64, 8, (1, 8, 8))])
def test_sides_of_images(inputs, image, sides):
    assert image_sides(inputs, image) == sides
    assert image_sides(3 * inputs, image) == (3, *sides[1:])


@pytest.mark.parametrize(("inputs", "image"), [(20, None), (64, 7), (64, (8, 4)), (64, (1, 8, 8)), (2, (2, 8))])
def test_inputs_that_are_no_image(inputs, image):
    with pytest.raises(SaoError, match=rf"--image .*{inputs} inputs|{inputs} inputs .*--image"):
        image_sides(inputs, image)


def test_masks_are_what_is_left(run, figures):
    assert run(*ASKED, "-o", "o.safetensors", "--plot", "p.png", "--picture", "masks")[0] == 0
    for panel, (name, left) in zip(figures[0].axes, load_file("o.safetensors").items(), strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), left != 0)
        assert panel.get_title().startswith(name)


def test_large_masks_and_kernels_are_shares():
    mask = RNG.random((512, 1000)) < 0.1
    thin = MaskImage.of(mask)
    assert thin.image.shape == (256, 256)
    np.testing.assert_allclose(thin.image[0, 0], mask[:2, :3].mean())
    assert (thin.shape, thin.left) == (mask.shape, mask.sum())
    kernel = RNG.random((4, 2, 3, 3)) < 0.5
    np.testing.assert_allclose(MaskImage.of(kernel).image, kernel.sum(axis=(2, 3)) / 9)


def test_the_first_20_masks_are_drawn():
    masks = {str(at): MaskImage.of(np.eye(3)) for at in range(23)}
    figure = mask_image_figure(masks)
    assert len(figure.axes) == 20
    assert "the first 20 of 23 layers" in figure.get_supxlabel()


@pytest.mark.parametrize("by", ["magnitude", "--scores"])
def test_scores_are_a_histogram_of_each_layer(run, figures, by):
    scores = {name: np.abs(one) for name, one in MODEL.items()}
    write_checkpoint(scores, "s.safetensors")
    asked = ("--scores", "s.safetensors") if by == "--scores" else ("--method", by)
    told = ("m.safetensors", *asked, "--sparsity", 0.9, "--no-facts", "-o", "o.safetensors", "--plot", "p.png")
    assert run(*told, "--picture", "scores")[0] == 0
    right = score_histogram_figure(scores)
    for panel, same in zip(figures[-1].axes, right.axes, strict=True):
        (drawn,), (stairs,) = panel.patches, same.patches
        name, count = panel.get_title().split(", n = ")
        assert int(count.replace(",", "")) == scores[name].size
        assert drawn.get_data().values.sum() == pytest.approx(1.0)
        if by == "--scores":
            np.testing.assert_array_equal(drawn.get_data().values, stairs.get_data().values)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_every_format_is_written_by_a_pipe_too(run, tmp_path, suffix):
    code, out, _ = run(*ASKED, "-o", "-", "--plot", f"p{suffix}", "--picture", "masks")
    assert code == 0
    assert out
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"p{suffix}").read_bytes().startswith(begins)


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_are_a_column_wide(run, tmp_path, picture):
    assert run(*ASKED, "-o", "o.safetensors", "--plot", "p.png", "--picture", picture)[0] == 0
    assert matplotlib.image.imread(tmp_path / "p.png").shape[1] <= 3.5 * 300 + 1


@pytest.mark.parametrize(
    ("model", "asked", "said"),
    [
        ("m", ("--method", "lmp", "--picture", "scores"), ("lmp gives no scores", "--scores FILE")),
        ("m", ("--method", "erk", "--picture", "scores"), ("erk gives no scores", "--scores FILE")),
        ("odd", ("--picture", "inputs"), ("20 inputs", "--image HxW")),
        ("m", ("--picture", "inputs", "--image", "7x9"), ("--image 7x9", "64 inputs")),
        ("m", ("--picture", "masks", "--image", "8x8"), ("--image", "--picture inputs")),
        ("k", ("--picture", "inputs"), ("kernels", "--picture masks")),
        ("m", ("--picture", "mask"), ("unknown picture", "masks")),
        ("m", ("--picture", "classes"), ("lmp tells of no samples", "snip")),
        ("m", ("--picture", "classes", "--method", "synflow"), ("synflow tells of no samples", "snip")),
        ("m", ("--picture", "classes", *SNIP, "--control", "shuffle"), ("leave out", "--control")),
        ("wide", ("--picture", "classes", *SNIP, "--data", "many.npz"), ("room for 19 classes", "21")),
    ],
)
def test_pictures_that_can_not_be_drawn_are_refused_before_anything_is_written(run, tmp_path, model, asked, said):
    told = (f"{model}.safetensors", "--sparsity", 0.5, "-o", "o.safetensors", "--plot", "p.png", *asked)
    code, out, err = run(*told)
    assert (code, out) == (2, b"")
    assert all(word in err for word in said), err
    assert len([line for line in err.splitlines() if "Usage" not in line and "Try" not in line and line]) <= 2
    assert not (tmp_path / "o.safetensors").exists()
    assert not (tmp_path / "p.png").exists()
