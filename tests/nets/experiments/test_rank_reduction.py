"""The experiments of rank reduction: what their rows tell, counted by hand, and nothing fused where nothing may be."""

import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sao_cli import SaoError
from sao_cli.nets import Training, TrainingSettings, core_sizes, p_values, rare_ablation, rare_runs, rare_strengths
from sao_cli.nets.training.data import load_data

SMALL = {"images": 200, "epochs": 3, "check_every": 1, "tau_cos": 0.5, "tau_euc": 10.0}  # where much is fused
TINY = {"method": "dense", "activation": "relu", "optimizer": "adam", "init": "vs-h", "jacobian_at": ()}


@pytest.fixture(scope="module")
def fused():
    return rare_strengths((20.0,), (12, 12), seeds=(0, 1, 2), **SMALL)[0]


def test_a_run_tells_what_the_rows_of_its_training_do(fused):
    for place in (0, 2):
        settings = replace(fused.settings, seed=place)
        data = load_data(settings)
        data = replace(data, train_images=data.train_images[:200], train_labels=data.train_labels[:200])
        rows = list(Training(settings, data, device="cpu").epochs())
        assert fused.accuracies[place] == pytest.approx([100 * row.test_accuracy for row in rows])
        last = rows[-1].rare
        assert (fused.left[place], fused.fusions[place], fused.zero[place]) == (
            last.parameters,
            last.fusions,
            last.zero,
        )
        assert fused.error_median[place] == last.error_median
        assert fused.parameters == rows[0].rare.parameters
    assert fused.steps == 3 * 4  # 200 images in batches of 64
    assert min(fused.fusions) > 0


def test_what_is_left_is_the_sizes_of_the_cores_and_what_never_fuses(fused):
    for left, cores in zip(fused.left, fused.cores, strict=True):
        assert left == sum(m * n for m, n in cores) + 12 + 12 + 10 + len(cores)  # biases, and g
    assert [cores[0][1] for cores in fused.cores] == [64] * 3
    assert [cores[-1][0] for cores in fused.cores] == [10] * 3
    for saved, left in zip(fused.compression, fused.left, strict=True):
        assert saved == pytest.approx(100 * (fused.parameters - left) / fused.parameters)


def test_the_sizes_are_means_and_deviations_over_seeds(fused):
    first, middle, last = core_sizes(fused)
    assert [one.shape for one in (first, middle, last)] == [(12, 64), (12, 12), (10, 12)]
    outputs, inputs = ([cores[1][axis] for cores in fused.cores] for axis in (0, 1))
    assert middle.outputs == pytest.approx((statistics.mean(outputs), statistics.stdev(outputs)))
    assert middle.inputs == pytest.approx((statistics.mean(inputs), statistics.stdev(inputs)))
    assert (first.inputs, last.outputs, last.features) == ((64, 0), (10, 0), (10, 0))
    assert middle.features[0] <= 12


def test_baselines_fuse_nothing_and_the_control_has_no_loss():
    rows = rare_ablation((6,), seeds=(0,), images=100, epochs=1)
    assert [row.name for row in rows] == ["baseline", "+FN", "+DLRA", "+DLRA without FN", "lambda_1 = 0"]
    assert [row.fusions for row in rows[:2]] == [(0,), (0,)]
    assert [row.compression for row in rows[:2]] == [(0,), (0,)]
    assert [(row.settings.rare, row.settings.l2, row.settings.frobenius) for row in rows] == [
        (0, 0, False),
        (0, 0, True),
        (20, 0.1, True),
        (20, 0.1, False),
        (0, 0.1, True),
    ]


def test_accuracies_are_means_of_the_last_epochs_and_speed_is_of_the_first_that_is_as_good(fused):
    run = replace(fused, accuracies=((10.0, 50.0, 80.0, 70.0), (10.0, 20.0, 30.0, 40.0), (10.0,)))
    assert run.accuracy(2) == (75, 35, 10)
    assert run.accuracy(9) == pytest.approx((200 / 3, 30, 10))
    assert run.epochs_to(70) == (2, None, None)


def test_p_values_are_of_students_test(fused):
    first, second = (90.65, 90.80, 90.50), (90.45, 90.55, 90.2)
    runs, baseline = (replace(fused, accuracies=tuple((0.0, one) for one in told)) for told in (first, second))
    pooled = (statistics.variance(first) + statistics.variance(second)) / 2
    t = (statistics.mean(first) - statistics.mean(second)) / np.sqrt(2 * pooled / 3)
    assert p_values(runs, baseline) == pytest.approx((stats.t.sf(t, 4), 2 * stats.t.sf(t, 4)))
    assert p_values(runs, runs)[1] == pytest.approx(1)
    alone = replace(fused, accuracies=((0.0, 1.0),))
    assert p_values(alone, alone) == (None, None)


@pytest.mark.parametrize("asked", [{"seeds": ()}, {"seeds": (0,), "settings": TrainingSettings(**TINY)}])
def test_no_seeds_and_no_rare_are_refused(asked):
    settings = asked.pop("settings", TrainingSettings(**TINY, rare=0.0))
    with pytest.raises(SaoError, match="runs are of one seed at least, and of settings with rare"):
        rare_runs(settings, **asked)
