"""What is planned against what is built, of every method, whatever is asked for; and the one rule of how many stay."""

import json
import random
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from sao_cli.base.errors import InfeasibleError, SaoError, SaoWarning
from sao_cli.catalog import FORMS
from sao_cli.cli import main
from sao_cli.masks.architectures import cnn_shapes, plan_convolutions
from sao_cli.masks.build_masks import METHODS as OF_MASKS
from sao_cli.masks.build_masks import mask_stack
from sao_cli.masks.degrees import kappa, kept_entries, kept_of_stack, layer_counts
from sao_cli.nets import sparsify
from sao_cli.nets.networks.cnn import CNN
from sao_cli.nets.training.methods import build_model, kept_places, prune_
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.weights.build_weights import METHODS, weight_stack
from sao_cli.weights.givens import eoi_weight
from sao_cli.weights.kernels.build_kernels import build_kernel
from sao_cli.weights.plan import plan

SPARSITIES = (0, 0.5, 0.7, 0.75, 0.98, 0.995, -0.1, 1.0, float("nan"), float("inf"))
IRREGULAR = ("xnet", "nm", "lrp", "lmp", "gmp", "eoi")
UNLIKE = ((3, 20, 0.175, 50), (5, 5, 0.06, 24), (5, 9, 0.3, 31), (3, 25, 0.62, 28))  # m, n, s, not left to right


def outcome(compute):
    """What it gives, or the error that it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaoWarning)  # of collapsed layers
            return compute(), None
    except SaoError as error:
        return None, error


def a_target(rng):
    name = rng.choice(("d", "c", "sparsity", "sparsity"))
    return {name: rng.choice((*SPARSITIES, rng.random(), rng.random())) if name == "sparsity" else rng.randint(0, 9)}


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_is_what_is_built_or_both_refuse(method):
    rng, built = random.Random(METHODS.index(method)), 0
    for _ in range(60):
        sizes = rng.choice((range(1, 7), range(1, 25), (4, 6, 8, 12, 16)))
        widths, target, seed = [rng.choice(sizes) for _ in range(rng.randint(2, 4))], a_target(rng), rng.randint(0, 2)
        asked = {"method": method, "seed": seed, **target}
        (rows, refused), (stack, failed) = (
            outcome(lambda of=of, widths=widths, asked=asked: of(widths, **asked)) for of in (plan, weight_stack)
        )
        assert (rows is None) == (stack is None), (widths, asked, refused, failed)
        if stack is None:
            continue
        built += 1
        masks = [weight.mask for weight in stack]
        if method in OF_MASKS:
            assert [mask.nnz for mask in mask_stack(widths, **asked)] == [mask.nnz for mask in masks]
        for row, mask in zip(rows, masks, strict=True):
            assert (row.m, row.n, row.parameters, row.sparsity) == (*mask.shape, mask.nnz, mask.sparsity)
            assert (row.c, row.d) == (mask.provenance["c"], mask.provenance["d"])
            assert row.c is None or set(mask.column_degrees.tolist()) == {row.c}
            assert row.d is None or set(mask.row_degrees.tolist()) == {row.d}
            assert (row.c is None) == (method in IRREGULAR)
    assert built >= 3


def test_the_command_line_plans_what_the_command_line_builds():
    def rows(line):
        done = CliRunner().invoke(main, line.split())
        return [json.loads(row) for row in done.stdout.splitlines()], done

    for method in (*IRREGULAR, "sao", "dense", "rg-s", "ramanujan"):
        asked = f"--method {method} --widths 48,30,24,10 --sparsity 0.8 --seed 3 --json"
        (planned, _), (made, _), (weighed, _) = (rows(f"{command} {asked}") for command in ("plan", "mask", "weights"))
        for keys, others in ((("c", "d", "sparsity"), ("c", "d", "sparsity")), (("parameters",), ("nnz",))):
            assert [[row[key] for key in keys] for row in planned] == [[row[key] for key in others] for row in made]
        assert [row["nnz"] for row in made] == [row["nnz"] for row in weighed]
    for asked in (
        "--m 300 --n 784 --c 7 --method xnet",
        "--m 4 --n 4 --sparsity nan",
        "--m 4 --n 4 --d 5 --method eoi",
    ):
        (_, one), (_, two) = (rows(f"{command} {asked} --json") for command in ("plan", "mask"))
        assert one.exit_code == two.exit_code == 2
        assert one.stderr.replace("sao plan", "sao mask") == two.stderr
        assert one.stderr.count("\n") == 1


def test_a_plan_of_lrp_is_no_plan_of_rows():
    first, *_ = plan([784, 300, 100, 10], method="lrp", sparsity=0.98)
    assert (first.parameters, first.c, first.d) == (4704, None, None)
    assert first.feasible == tuple(range(1, 785))


@pytest.mark.parametrize("method", ["sao", "dense", "rg-n", "rg-s", "lmp", "lrp"])
def test_a_planned_cnn_is_the_one_that_is_built(method):
    rng = random.Random(0)
    for _ in range(8):
        depth, width, form = rng.randint(1, 4), rng.randint(1, 12), rng.choice(list(FORMS))
        target = a_target(rng)
        if "c" in target:
            continue  # which the network has not
        rows, refused = outcome(
            lambda: plan_convolutions(cnn_shapes(depth, width, form=form), method=method, **target)  # noqa: B023
        )
        given = {"degree": target.get("d"), "sparsity": target.get("sparsity")}
        net, failed = outcome(lambda: CNN(depth, width, form=form, method=method, **given))  # noqa: B023
        assert (rows is None) == (net is None), (depth, width, target, refused, failed)
        if net is None:
            continue
        for row, kernel in zip(rows, net.kernels(), strict=True):
            assert (row.parameters, row.sparsity) == (9 * kernel.mask.nnz, kernel.mask.sparsity)
            assert row.c is None or set(kernel.mask.column_degrees.tolist()) == {row.c}
            assert row.d is None or set(kernel.mask.row_degrees.tolist()) == {row.d}


@pytest.mark.parametrize("method", ["gmp", "eoi"])
def test_a_cnn_whose_counts_depend_on_values_is_not_planned(method):
    with pytest.raises(SaoError, match=f"how many kernels {method} keeps"):
        plan_convolutions(cnn_shapes(4, 8), method=method, sparsity=0.5)


def test_kappa_is_the_rule_and_does_not_see_the_order_of_the_sides():
    assert [kappa(5, s) for s in (0.5, 0.3, 0.1)] == [2, 4, 4]  # 2.5, and 3.5 and 4.5 by their doubles
    assert [kappa(m * n, s) for m, n, s, _ in UNLIKE] == [kept for *_, kept in UNLIKE]
    assert all(round((1.0 - s) * m * n) != kept for m, n, s, kept in UNLIKE)
    assert kappa(2**60 + 1, 0.0) == 2**60  # what a double has of it; never more than there is
    assert kappa(2**53 - 1, 0.0) == 2**53 - 1
    with pytest.raises(InfeasibleError, match="outside"):
        kappa(10, 1.0)


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("xnet", "nm")])  # which have d a row
def test_a_layer_and_its_transpose_keep_as_many(method):
    rng = np.random.default_rng(1)
    for _ in range(400):
        m, n, sparsity = *rng.integers(1, 60, 2).tolist(), round(float(rng.random()), 3)
        one, two = (
            outcome(lambda sides=sides: layer_counts(*sides, method, sparsity=sparsity))[0]  # noqa: B023
            for sides in ((m, n), (n, m))
        )
        assert (one is None) == (two is None)
        assert one is None or one.nnz == two.nnz, (m, n, sparsity)


@pytest.mark.parametrize(("m", "n", "s", "kept"), UNLIKE)
def test_everything_that_prunes_keeps_by_the_rule(m, n, s, kept, tmp_path):
    for sides in ((m, n), (n, m)):
        assert kept_entries(*sides, sparsity=s) == kept
        [mask] = mask_stack([sides[1], sides[0]], method="lrp", sparsity=s)
        assert mask.nnz == kept
        for method in ("lmp", "lrp", "gmp"):
            assert weight_stack([sides[1], sides[0]], method=method, sparsity=s)[0].mask.nnz == kept
        assert [build_kernel(*sides, method=method, sparsity=s).mask.nnz for method in ("lmp", "lrp")] == [kept] * 2
        at_target = [eoi_weight(*sides, sparsity).mask.nnz for sparsity in (s, 1 - kept / (m * n))]
        assert at_target[0] == at_target[1]  # both stop where the entries are nearest to `kept`
        model = nn.Sequential(nn.Linear(sides[1], sides[0]))
        sparsify(model, "gmp", sparsity=s, skip=())
        assert int(model[0].weight_mask.sum()) == kept
        torch.save({"w": torch.rand(sides)}, tmp_path / "w.pt")
        for method in ("lmp", "gmp", "lrp"):
            line = ["prune", "w.pt", "--method", method, "--sparsity", s, "--all", "--json", "-o", "o.safetensors"]
            line = [str(tmp_path / one) if one in ("w.pt", "o.safetensors") else str(one) for one in line]
            *_, summary = CliRunner().invoke(main, line).stdout.splitlines()
            assert json.loads(summary)["nnz"] == kept


def test_over_all_layers_it_is_rounded_once():
    shapes = [(5, 5)] * 5  # 2.5 of each
    assert kept_of_stack(shapes, sparsity=0.9) == kappa(125, 0.9) == 12
    assert kept_of_stack(shapes, d=2) == kept_of_stack(shapes, c=2) == 50
    assert sum(weight.mask.nnz for weight in weight_stack([5] * 6, method="gmp", sparsity=0.9)) == 12
    model = nn.Sequential(*(nn.Linear(5, 5) for _ in shapes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaoWarning)
        sparsify(model, "gmp", sparsity=0.9, skip=())
    assert sum(int(layer.weight_mask.sum()) for layer in model) == 12
    told = TrainingSettings(method="gmp-s", depth=6, width=5, sparsity=0.9, seed=1).resolved()
    model = build_model(told, channels=1, side=8, classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaoWarning)
        prune_(model, told)
    assert sum(int(places.sum()) for places in kept_places(model).values()) == 12
    with pytest.raises(InfeasibleError, match="d = 6"):
        kept_of_stack(shapes, d=6)
