"""The paper's settings as defaults, the schedules by hand, and one line for what can't be."""

import json
import math

import pytest

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.catalog import ARCHITECTURES, TRAIN_METHODS
from sao_cli.nets.training.schedule import learning_rate
from sao_cli.nets.training.settings import TrainingSettings


def resolved(**given):
    return TrainingSettings(**given).resolved()


CNN = {"data": "cifar10", "arch": "cnn"}


@pytest.mark.parametrize(
    ("given", "depth", "rate", "decay", "milestones", "warmup", "schedule", "epochs"),
    [  # SAO, Tables 2 and 3, and section III-D
        ({"data": "mnist"}, 50, 1e-2, 1e-4, (), 0, "steps", 100),
        ({"data": "mnist", "depth": 200}, 200, 1e-3, 1e-4, (), 0, "steps", 100),
        ({"data": "mnist", "depth": 401}, 401, 1e-4, 1e-4, (), 0, "steps", 100),
        (CNN, 32, 1e-2, 1e-4, (50, 150), 0, "steps", 200),
        (CNN | {"depth": 512}, 512, 1e-4, 1e-4, (50, 150), 10, "cosine", 200),
        (CNN | {"depth": 512, "activation": "relu"}, 512, 1e-4, 1e-4, (50, 150), 0, "steps", 200),
        (CNN | {"depth": 768, "activation": "relu"}, 768, 1e-4, 1e-4, (50, 150), 10, "cosine", 200),
        ({"data": "cinic10", "arch": "cnn", "depth": 8}, 8, 1e-2, 1e-4, (50, 150), 1, "cosine", 200),
        ({"data": "cifar10", "arch": "lipconvnet"}, 5, 1e-2, 5e-4, (50, 150), 0, "steps", 200),
    ],
)  # fmt: skip
def test_the_papers_settings(given, depth, rate, decay, milestones, warmup, schedule, epochs):
    found = resolved(**given)
    assert (found.depth, found.learning_rate, found.weight_decay) == (depth, rate, decay)
    assert (found.milestones, found.warmup, found.schedule) == (milestones, warmup, schedule)
    assert (found.epochs, found.momentum, found.decay) == (epochs, 0.9, 0.1)
    assert found.gain == (1.1 if found.arch == "fnn" else 1)
    assert found.augment == (found.arch != "fnn")
    assert found.resolved() == found


def test_digits_have_rates_that_suit_460_steps():
    assert [resolved(depth=depth).learning_rate for depth in (50, 200, 1000)] == [1e-2, 1e-3, 1e-3]


def test_listed_widths_are_in_the_place_of_depth_and_width():
    listed = resolved(widths=(300, 100))
    assert (listed.sizes, listed.hidden, listed.depth, listed.width) == ((2, 300), (300, 100), None, None)
    assert (listed.gain, listed.learning_rate, listed.epochs, listed.layers) == (1.1, 1e-2, 20, "blocks")
    assert listed.resolved() == TrainingSettings.from_dict(json.loads(json.dumps(listed.to_dict()))) == listed
    lenet, convolutions = (resolved(arch=arch, data="mnist") for arch in ("lenet300", "lenet5"))
    assert (lenet.hidden, lenet.gain, lenet.activation, lenet.layers) == ((300, 100), 1, "tanh", "blocks")
    assert (convolutions.hidden, convolutions.activation, convolutions.layers) == ((20, 50, 500), "relu", "masked")
    for one in (lenet, convolutions):
        assert (one.epochs, one.milestones, one.learning_rate) == (100, (), 1e-2)
        assert one.resolved() == one
    assert resolved(method="dense", widths=(9,)).sizes == (1, 9)
    assert resolved(method="lmp-s", all_layers=True, widths=(9,)).sizes == (1, 9)


def test_other_initial_weights_have_no_gain_of_their_own():
    assert [resolved(method="lmp-s", init=init).gain for init in (None, "vs-g")] == [1.1, 1]
    found = resolved(method="dense", init="normal", init_gamma=0.01)
    assert found.resolved() == TrainingSettings.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert resolved(method="dense", init="vs-l", gain=1.3).gain == 1.3


def test_pruning_after_training_takes_twice_the_epochs():
    assert resolved(method="lmp-s", epochs=3).total_epochs == 3
    after = resolved(method="lmp-t", epochs=3)
    assert (after.total_epochs, after.jacobian_epochs) == (6, {0, 6})


def test_steps_fall_at_milestones():
    settings = resolved(learning_rate=1.0, milestones=(2, 4), decay=0.1)
    rates = [learning_rate(settings, epoch) for epoch in (0, 1.9, 2, 3.9, 4)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_warm_up_and_cosine():
    settings = resolved(learning_rate=2.0, warmup=2, schedule="cosine", epochs=10)
    assert [learning_rate(settings, epoch) for epoch in (0, 0.5, 1.5)] == [0, 0.5, 1.5]
    assert learning_rate(settings, 2) == 2
    assert learning_rate(settings, 6) == pytest.approx(1)  # half way
    assert learning_rate(settings, 4) == pytest.approx(2 * math.cos(math.pi / 8) ** 2)
    assert learning_rate(settings, 10) == pytest.approx(0)


CRITICAL = {"activation": "crelu", "activation_sparsity": 0.85, "slope": 0.7}


def test_the_edge_of_chaos_fills_in_what_it_fixes():
    found = resolved(**CRITICAL, depth=30)
    assert found.tau == pytest.approx(1.0364333894937898, rel=1e-12)
    assert found.clip == pytest.approx(1.1703673400915204, rel=1e-8)  # known values: invert-k1-0.85-v0.7
    assert (found.sigma_w, found.sigma_b) == pytest.approx((2.7082871761553857, 0.771583344167356), rel=1e-8)
    assert (found.q_star, found.gain, found.method, found.learning_rate) == (1.0, found.sigma_w, "dense", 1e-3)
    assert found.resolved() == TrainingSettings.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    same = resolved(activation="crelu", tau=found.tau, clip=found.clip)
    assert (same.sigma_w, same.sigma_b) == pytest.approx((found.sigma_w, found.sigma_b), rel=1e-12)
    wide = resolved(**CRITICAL, q_star=4.0)
    assert (wide.sigma_w, wide.tau, wide.sigma_b) == pytest.approx(
        (found.sigma_w, 2 * found.tau, 2 * found.sigma_b), rel=1e-9
    )


def test_what_is_told_besides_begins_at_the_edge_too():
    relu = resolved(activation="relu", q_star=1.0)
    assert (relu.sigma_w, relu.sigma_b) == pytest.approx((math.sqrt(2), 0.0), abs=1e-12)
    told = resolved(activation="tanh", sigma_w=1.5, sigma_b=0.2, method="sao", q_star=0.5)
    assert (told.sigma_w, told.sigma_b, told.gain, told.method, told.tau) == (1.5, 0.2, 1.5, "sao", None)
    assert resolved(**CRITICAL, method="rg-n").method == "rg-n"
    assert resolved(**CRITICAL, data="mnist", depth=1000).learning_rate == 1e-4
    assert not resolved(activation="tanh").critical


def test_settings_travel_as_json():
    settings = resolved(method="gmp-t", milestones=(3, 5), jacobian_at=(1, "last"), sparsity=0.9)
    assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(FormatError, match="did you mean 'epochs'"):
        TrainingSettings.from_dict({"epoch": 3})


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_method_has_settings(arch):
    own = [name for name, row in TRAIN_METHODS.items() if arch in row.trains]
    for name in own:
        sparsity = 0.9 if TRAIN_METHODS[name].scored else None
        assert resolved(arch=arch, method=name, sparsity=sparsity).method == name
    assert {"sao", "dense"} <= set(own)


def test_a_method_prunes_before_or_after_training_as_its_name_says():
    pruned = {name: (row.rule, row.after) for name, row in TRAIN_METHODS.items() if row.rule}
    assert pruned == {f"{rule}-{when}": (rule, when == "t") for rule in ("lmp", "gmp", "lrp", "nm") for when in "st"}


@pytest.mark.parametrize("name", ["data", "arch", "method", "dtype"])
def test_what_has_a_default_may_not_be_nothing(name):
    with pytest.raises(SaoError, match=f"unknown {name} None"):
        resolved(**{name: None})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": "digit"}, "did you mean 'digits'"),
        ({"arch": "mlp"}, "there are: fnn, cnn, lipconvnet"),
        ({"method": "lmp"}, "-s, before training, or -t, after it"),
        ({"method": "eoi", "arch": "cnn"}, "none of a cnn's"),
        ({"layers": "block"}, "did you mean 'blocks'"),
        ({"layers": "blocks", "method": "rg-n"}, 'choose "masked"'),
        ({"depth": 0}, "depth 0"),
        ({"epochs": -1}, "epochs -1"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"learning_rate": math.nan}, "learning_rate nan"),
        ({"gain": 0.0}, "gain 0.0"),
        ({"momentum": 1.0}, "momentum 1.0"),
        ({"weight_decay": -1.0}, "weight_decay -1.0"),
        ({"decay": 0.0}, "decay 0.0"),
        ({"milestones": (0,)}, "milestones (0,)"),
        ({"jacobian_at": (21,)}, "from 0 to 20"),
        ({"jacobian_at": ("first",)}, "jacobian_at first"),
        ({"jacobian_inputs": 0}, "jacobian_inputs 0"),
        ({"d": 4, "sparsity": 0.9}, "give one of them"),
        ({"d": 4, "method": "dense"}, "a dense network has no degree"),
        ({"activation": "tahn"}, "did you mean 'tanh'"),
        ({"arch": "lipconvnet", "activation": "relu"}, "MaxMin"),
        ({"arch": "lipconvnet", "gain": 1.1}, "gain 1.1"),
        ({"augment": True}, "not for 'digits'"),
        ({"widths": (9, 9), "width": 9, "depth": 2}, "widths 9,9 take the place of depth and width; leave depth and"),
        ({"widths": (9, 9), "arch": "cnn"}, "a cnn has depth and width"),
        ({"widths": (9, 9), "arch": "lenet300"}, "a lenet300 has hidden layers of 300,100; leave widths out"),
        ({"depth": 2, "arch": "lenet5"}, "a lenet5 has hidden layers of 20,50,500; leave depth out"),
        ({"widths": (9, 0)}, "widths 9,0: it is a list of whole numbers from 1"),
        ({"widths": ()}, "widths : it is a list"),
        ({"widths": (9,)}, "widths 9: method 'sao' leaves the first and the last layer dense"),
        ({"widths": (9,), "method": "lmp-s"}, "or choose all layers of a method that prunes"),
        ({"all_layers": True}, "all_layers is for methods that prune, and 'sao' builds its masks"),
        ({"method": "erk", "d": 4}, "method 'erk' compares all layers; give it a sparsity, as 0.9, and no degree"),
        ({"method": "lmp-s", "prune_samples": 5}, "prune_samples 5 is not for method 'lmp-s'; leave it out"),
        ({"method": "synflow", "sparsity": 0.5, "temperature": 2.0}, "temperature 2.0 is not for method 'synflow'"),
        ({"method": "snip", "sparsity": 0.5, "rounds": 3}, "rounds 3 is not for method 'snip'"),
        ({"method": "force", "sparsity": 0.5, "rounds": 0}, "rounds 0: it is a whole number from 1"),
        ({"method": "snip", "sparsity": 0.5, "within": "random"}, "within random is not for method 'snip'"),
        ({"method": "erk", "sparsity": 0.5, "unit": "kernel"}, "unit kernel is not for method 'erk'"),
        ({"method": "snip", "sparsity": 0.5, "prune_labels": "ture"}, "unknown prune_labels 'ture'; did you mean"),
        ({"method": "snip", "sparsity": 0.5, "temperature": 0.0}, "temperature 0.0: it is a positive finite number"),
        ({"method": "snip", "sparsity": 0.5, "arch": "lipconvnet"}, "method 'snip' is none of a lipconvnet's"),
        ({"isometry_steps": 5, "method": "lmp-s"}, "isometry_steps 5 are of isometry"),
        ({"isometry_steps": 0, "isometry": True, "method": "lmp-s"}, "isometry_steps 0: it is a whole number from 1"),
        ({"isometry": True, "method": "lmp-t"}, "isometry repairs what is pruned before training, by lmp-s, gmp-s"),
        (
            {"init": "vs-g"},
            "method 'sao' has values of its own; init is for networks that begin dense, by dense, lmp-s",
        ),
        ({"init": "vs-g", "arch": "lipconvnet", "method": "dense"}, "the lipconvnet of method 'dense' has values"),
        ({"init": "vs", "method": "dense"}, "unknown init 'vs'"),
        ({"init": "normal", "method": "dense"}, "give init_gamma"),
        ({"init": "normal", "init_gamma": 0.1, "gain": 1.1, "method": "dense"}, "gain 1.1: init_gamma 0.1 is the var"),
        ({"init": "vs-h", "init_gamma": 0.1, "method": "lmp-s"}, "init vs-h has its own"),
        ({"init_gamma": 0.1, "method": "dense"}, "init_gamma 0.1 is the variance of init normal; choose that too"),
        ({"arch": "lenet5", "layers": "blocks"}, "of method sao in an fnn, cnn or lenet300"),
        ({"dtype": "float16"}, "there are: float64, float32"),
        (CRITICAL | {"gain": 1.1}, "gain 1.1 is sigma_w, and at the edge of chaos 2.70829; leave it out"),
        (CRITICAL | {"tau": 1.0}, "tau 1 beside activation_sparsity 0.85, which makes it 1.03643; give one of them"),
        (CRITICAL | {"clip": 1.0}, "clip 1 beside slope 0.7, which makes it 1.17037; give one of them"),
        (CRITICAL | {"sigma_w": 1.0}, "sigma_w and sigma_b: give both"),
        (CRITICAL | {"sigma_w": 1.0, "sigma_b": 1.0}, "q_star 1: biases alone give q = sigma_b^2 = 1"),
        (CRITICAL | {"sigma_w": 1.0, "sigma_b": -1.0}, "sigma_b -1.0"),
        (CRITICAL | {"sigma_w": 0.0, "sigma_b": 0.5}, "sigma_w 0: weights of 0 pass nothing on"),
        (CRITICAL | {"arch": "lenet5"}, "a lenet5 is no chain of matrices"),
        (CRITICAL | {"arch": "lipconvnet", "activation": None}, "a lipconvnet is no chain of matrices"),
        (CRITICAL | {"method": "snip", "sparsity": 0.5}, "method 'snip' prunes what is at the edge of chaos"),
        (CRITICAL | {"init": "vs-h"}, "init vs-h has a variance of its own"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_what_can_not_be_is_one_line(given, said):
    with pytest.raises(SaoError) as caught:
        resolved(**given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
