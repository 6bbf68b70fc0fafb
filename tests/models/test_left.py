"""What pruning leaves: on plain stacks and on modules, against paths, the network's own facts and known values."""

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli import (
    Network,
    PrunedNetwork,
    SaoError,
    SaoWarning,
    effective_weights,
    open_checkpoint,
    prune_checkpoint,
    prune_checks,
    prune_failures,
    write_checkpoint,
)

SEED = 1  # with which a stack of 6-5-4-3 keeps a path at 80 %


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x + self.second(torch.relu(self.first(x))))


class Convolutional(nn.Module):
    """Kernels of which taps read padding alone: on images of 2 x 2 the corners of 5 x 5 ones do."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 5, padding=2), nn.Conv2d(4, 2, 5, padding=2, groups=2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))).mean((2, 3))


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return torch.linalg.matrix_exp(self.fc(x))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def stack(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    return {f"net.{2 * layer}.weight": rng.normal(size=shape) for layer, shape in enumerate(shapes)}


def written(name):
    with open_checkpoint(name) as checkpoint:
        return {entry.name: checkpoint.read(entry) for entry in checkpoint.entries}


@pytest.mark.filterwarnings("ignore:.*dead")
@pytest.mark.parametrize("method", ["gmp", "lmp", "lrp"])
@pytest.mark.parametrize("skip_ends", [True, False])
def test_a_plain_stack_tells_what_is_effective_with_its_unpruned_ends(folder, method, skip_ends):
    for seed in range(4):
        write_checkpoint(stack(7, 9, 8, 11, 4, seed=seed), "m.safetensors")
        asked = {"method": method, "sparsity": 0.8, "skip_ends": skip_ends, "facts": False, "seed": seed}
        changes = prune_checkpoint("m.safetensors", "p.safetensors", **asked)
        weights = written("p.safetensors")
        effective = dict(zip(weights, effective_weights([one != 0 for one in weights.values()]), strict=True))
        for row in changes.changed:
            assert row.effective == effective[row.name].sum()
            assert row.effective_sparsity == 1 - row.effective / weights[row.name].size
            assert row.dead_inputs == (~(weights[row.name] != 0).any(0)).sum()
            assert row.dead_outputs == (~(weights[row.name] != 0).any(1)).sum()
            assert (row.kept, row.collapsed) == (row.after["nnz"], False)
        paths = np.eye(7)
        for one in weights.values():
            paths = ((one != 0) @ paths) > 0
        summary = changes.summary
        assert summary.reachable == paths.mean()
        assert summary.lost_inputs == (~paths.any(0)).sum()
        assert summary.unreached_outputs == (~paths.any(1)).sum()
        assert summary.effective == sum(row.effective for row in changes.changed)
        assert (summary.assumed, summary.reason, summary.unknown) == ("a plain stack", None, ())


def test_the_sizes_of_what_is_left(folder):
    write_checkpoint(stack(6, 5, 4, 3, seed=SEED), "m.safetensors")
    summary = prune_checkpoint("m.safetensors", "p.safetensors", method="gmp", sparsity=0.8, skip_ends=False).summary
    assert (summary.weights, summary.kappa, summary.kept) == (62, 12, 12)
    assert summary.compression == 62 / 12
    assert summary.effective_compression == 62 / summary.effective
    assert summary.effective_sparsity == 1 - summary.effective / 62
    degree = prune_checkpoint("m.safetensors", "p.safetensors", d=2, skip_ends=False).summary
    assert (degree.kappa, degree.kept) == (None, 2 * (5 + 4 + 3))


def test_a_network_that_is_dead_without_an_empty_layer_is_warned_of(folder):
    """Net A, of which two weights of each layer are kept, and no path is left."""
    places, flat = [13, 15, 39, 49, 60, 61], np.full(62, 0.5)
    flat[places] = 2.0
    parts = {"net.0.weight": (5, 6), "net.1.weight": (4, 5), "net.2.weight": (3, 4)}
    cut = np.split(flat, [30, 50])
    write_checkpoint(
        {name: one.reshape(shape) for one, (name, shape) in zip(cut, parts.items(), strict=True)}, "a.safetensors"
    )
    with pytest.warns(SaoWarning, match="no input reaches an output, though no layer is empty") as caught:
        changes = prune_checkpoint("a.safetensors", "p.safetensors", method="gmp", sparsity=0.9, skip_ends=False)
    assert caught[0].filename == __file__
    assert [row.kept for row in changes.changed] == [2, 2, 2]
    assert [row.effective for row in changes.changed] == [0, 0, 0]
    summary = changes.summary
    assert (summary.effective, summary.effective_compression, summary.collapsed_layers) == (0, None, 0)
    assert (summary.reachable, summary.lost_inputs, summary.unreached_outputs) == (0.0, 6, 3)


@pytest.mark.parametrize(
    ("module", "example"), [(Residual, (1, 6)), (Convolutional, (1, 2, 2, 2))], ids=["shortcut", "padding"]
)
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.filterwarnings("ignore:.*(layer collapse|dead)")
def test_a_module_tells_it_through_shortcuts_groups_and_padding(folder, module, example, prefix):
    net = module()
    state = {f"{prefix}{name}": one.numpy() for name, one in net.state_dict().items()}
    write_checkpoint(state, "m.safetensors")
    pruned_network = PrunedNetwork(module(), (torch.ones(example),))
    asked = {"method": "gmp", "sparsity": 0.6, "skip_ends": False, "facts": False, "network": pruned_network}
    changes = prune_checkpoint("m.safetensors", "p.safetensors", **asked)
    net.load_state_dict(
        {name.removeprefix(prefix): torch.tensor(one) for name, one in written("p.safetensors").items()}
    )
    network = Network.from_module(net, torch.ones(example))
    for row in changes.changed:
        assert row.effective == network.effective(row.name.removeprefix(prefix)).sum()
    summary, facts = changes.summary, network.summary.facts
    assert summary.effective_sparsity == pytest.approx(facts.effective_sparsity, abs=1e-15)
    assert [summary.reachable, summary.lost_inputs, summary.unreached_outputs] == [
        facts.reachable,
        facts.lost_inputs,
        facts.unreached_outputs,
    ]
    assert (summary.reason is None, summary.assumed) == (summary.effective_compression is not None, None)
    if module is Convolutional:
        assert summary.effective < summary.nnz  # the corners


def test_what_can_t_be_told_is_null_with_the_way_out(folder):
    write_checkpoint({name: one.numpy() for name, one in Residual().state_dict().items()}, "r.safetensors")
    changes = prune_checkpoint("r.safetensors", "p.safetensors", sparsity=0.5, skip_ends=False)
    assert [row.effective for row in changes.changed] == [None] * 3
    summary = changes.summary
    assert (summary.effective, summary.effective_sparsity, summary.reachable, summary.lost_inputs) == (None,) * 4
    assert summary.reason.endswith("--module FILE.py:NAME tells")
    kernels = {"net.0.weight": np.ones((4, 2, 3, 3)), "net.1.weight": np.ones((3, 4, 3, 3)), "net.2.weight": np.eye(3)}
    write_checkpoint(kernels, "k.safetensors")
    chain = prune_checkpoint("k.safetensors", "p.safetensors", sparsity=0.25, skip_ends=False).summary
    assert (chain.effective, chain.assumed) == (None, "a plain stack")
    assert chain.reachable is not None
    assert "padding alone" in chain.reason
    assert chain.reason.endswith("--module FILE.py:NAME tells")


def test_checks_look_at_weights_and_at_all_of_them(folder):
    write_checkpoint(stack(6, 5, 4, 3, seed=SEED), "m.safetensors")
    changes = prune_checkpoint("m.safetensors", "p.safetensors", method="gmp", sparsity=0.8, skip_ends=False)
    checks = prune_checks(["reachable>0", "effective>=100", "collapsed==false", "kept_norm>0"])
    assert [failure.name for failure in prune_failures(changes, checks)] == [
        *("net.0.weight", "net.2.weight", "net.4.weight", "summary")
    ]
    assert prune_failures(changes, prune_checks("collapsed_layers==0")) == []
    with pytest.raises(SaoError, match="did you mean 'reachable'"):
        prune_checks("reachabel>0")


def test_no_check_on_paths_passes_where_an_operation_is_unknown(folder):
    net = Unknown()
    write_checkpoint({name: one.numpy() for name, one in net.state_dict().items()}, "u.safetensors")
    network = PrunedNetwork(net, (torch.ones(4, 4),))
    changes = prune_checkpoint("u.safetensors", "p.safetensors", sparsity=0.5, skip_ends=False, network=network)
    assert changes.summary.unknown
    failures = prune_failures(changes, prune_checks(["reachable>0", "effective>0", "kept==8"]))
    assert [(failure.name, failure.field) for failure in failures] == [
        ("summary", "reachable"),
        ("fc.weight", "effective"),
        ("summary", "effective"),
    ]
    assert all("can't tell" in failure.reason for failure in failures)


def test_a_network_of_other_names_is_refused_before_anything_is_written(folder):
    write_checkpoint(stack(6, 5, 4), "m.safetensors")
    with pytest.raises(SaoError, match="has no first"):
        prune_checkpoint(
            "m.safetensors", "p.safetensors", sparsity=0.5, network=PrunedNetwork(Residual(), (torch.ones(1, 6),))
        )
    assert not (folder / "p.safetensors").exists()


def test_of_a_weight_at_several_places_a_stack_tells_who_reaches_whom_and_a_module_all(folder):
    square = torch.tensor(np.random.default_rng(0).normal(size=(6, 6)))
    torch.save({"0.weight": square, "2.weight": square}, "t.pt")
    asked = {"sparsity": 0.75, "skip_ends": False, "facts": False}
    changes = prune_checkpoint("t.pt", "p.safetensors", **asked)
    kept = (written("p.safetensors")["0.weight"] != 0).astype(int)
    assert len(changes.changed) == 1
    assert changes.summary.reachable == ((kept @ kept) > 0).mean()
    assert (changes.changed[0].effective, changes.summary.effective) == (None, None)
    assert changes.summary.reason.endswith("--module FILE.py:NAME tells")
    layer = nn.Linear(6, 6, bias=False).double()
    network = PrunedNetwork(nn.Sequential(layer, nn.Tanh(), layer), (torch.ones(1, 6, dtype=torch.float64),))
    told = prune_checkpoint("t.pt", "p.safetensors", **asked, network=network).changed[0]
    first, second = effective_weights([kept, kept])
    assert told.effective == (first | second).sum()
