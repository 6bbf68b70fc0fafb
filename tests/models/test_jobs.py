"""verify, spectrum --repeats and prune's facts a job each: what travels, and the same rows as in this process."""

import functools
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, LostJobError, SaoError
from sao_cli.data.matrix import Matrix
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint
from sao_cli.masks.build_masks import mask_stack
from sao_cli.measure.layer.spectrum import Comparison, compare_spectra
from sao_cli.models.draws import built_layers, given_layers, placed_layers
from sao_cli.models.places import StackPlace
from sao_cli.models.prune import prune_checkpoint
from sao_cli.models.verify import expansions
from sao_cli.reports.report import plain


def told(rows):
    """The rows as they are printed."""
    return json.dumps([plain(row) for row in rows])


class Parcels(ThreadPoolExecutor):
    """A process's way of jobs, in threads: what is sent and given back goes through pickle, and is weighed."""

    def __init__(self):
        super().__init__(2)
        self.sent = []

    def submit(self, function, /, *arguments):
        parcel = pickle.dumps((function, arguments))
        self.sent.append(len(parcel))
        unpacked, given = pickle.loads(parcel)
        return super().submit(lambda: pickle.loads(pickle.dumps(unpacked(*given))))


@pytest.fixture
def pool():
    with Parcels() as parcels:
        yield parcels


@pytest.fixture
def stack(tmp_path):
    """A file of three layers of 600 x 600, and what of it is meant: nothing but the file."""
    rng = np.random.default_rng(0)
    layers = {f"net.{2 * k}.weight": (rng.random((600, 600)) < 0.01) * rng.normal(size=(600, 600)) for k in range(3)}
    write_checkpoint({name: one.astype(np.float32) for name, one in layers.items()}, tmp_path / "stack.safetensors")
    return StackPlace.of(tmp_path / "stack.safetensors", {"tensors": (), "include": (), "exclude": ()})


def test_masks_travel_to_processes_and_a_path_to_a_cluster(pool, stack):
    masks = stack.stack().masks()
    here = told(expansions(masks, seed=3))
    assert told(expansions(masks, seed=3, executor=pool)) == here
    assert min(pool.sent) > 10_000
    pool.sent.clear()
    assert told(expansions(masks, seed=3, executor=pool, place=stack)) == here
    assert max(pool.sent) < 2000


def test_the_first_error_is_this_process_s(pool):
    masks = mask_stack([8, 8, 8], d=2)
    with pytest.raises(SaoError, match="criterion"):
        list(expansions(masks, criterion="nothing", executor=pool))


@pytest.mark.parametrize("comparison", [Comparison(), Comparison(reference="none")])
def test_repeats_of_what_is_built_are_the_same_rows(pool, comparison):
    asked = {"widths": [24, 24, 24], "d": 4}
    draws = {method: functools.partial(built_layers, method=method, **asked) for method in ("sao", "lmp")}
    asked = {"comparison": comparison, "repeats": 5, "seed": 7}
    here = compare_spectra(draws, ["linear", "tanh"], **asked)
    there = compare_spectra(draws, ["linear", "tanh"], executor=pool, **asked)
    assert told(there) == told(here)
    assert [one.singular_values.tolist() for one in there] == [one.singular_values.tolist() for one in here]
    assert len(pool.sent) == 5


def test_repeats_of_what_is_given_read_their_own_inputs(pool, stack):
    weights = stack.stack().matrices()[:1]
    inputs = np.random.default_rng(2).normal(size=(3, 600))
    asked = {"inputs": inputs, "repeats": 3, "comparison": Comparison(reference="none")}
    here = told(compare_spectra({"": lambda _: weights}, ["tanh"], **asked))
    given = {"": functools.partial(given_layers, weights=weights)}
    assert told(compare_spectra(given, ["tanh"], executor=pool, **asked)) == here
    assert min(pool.sent) > 20_000
    pool.sent.clear()
    placed = {"": functools.partial(placed_layers, place=stack)}
    assert told(compare_spectra(placed, ["tanh"], executor=pool, **asked)[:1]) == here
    assert max(pool.sent) < 7000  # an input of 600 numbers


def test_more_repeats_than_memory_holds_are_refused_before_they_are_listed():
    with pytest.raises(SaoError, match="choose fewer repeats"):
        compare_spectra({"": functools.partial(given_layers, weights=[Matrix.from_dense(np.eye(2))])}, repeats=10**12)


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(1)
    tensors = {f"module.net.{2 * k}.weight": rng.normal(size=(20, 20)).astype(np.float32) for k in range(4)}
    half = (rng.normal(size=(20, 20)).astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    tensors["module.net.0.bias"] = rng.normal(size=20).astype(np.float32)
    tensors["module.net.8.weight"] = Lazy((20, 20), "bfloat16", lambda: half)
    tensors["module.net.conv.weight"] = rng.normal(size=(8, 4, 3, 3)).astype(np.float32)
    tensors["module.net.pruned.weight_orig"] = rng.normal(size=(8, 8)).astype(np.float32)
    tensors["module.net.pruned.weight_mask"] = (rng.random((8, 8)) < 0.5).astype(np.float32)
    tensors["module.net.steps"] = np.array(3)
    write_checkpoint(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")  # of names, and of what is one tensor now
@pytest.mark.parametrize(
    "asked",
    [
        {"method": "gmp", "sparsity": 0.6, "transpose": "*.2.weight", "skip_ends": False},
        {"method": "magnitude", "sparsity": 0.9, "control": "fresh"},
        {"method": "sao", "d": 4, "skip_ends": False},
    ],
)
def test_facts_of_what_was_pruned_are_read_again(pool, model, tmp_path, asked):
    here = prune_checkpoint(model, tmp_path / "here.safetensors", seed=5, **asked)
    there = prune_checkpoint(model, tmp_path / "there.safetensors", seed=5, executor=pool, **asked)
    assert told(there.rows) == told(here.rows)
    assert told([there.summary]) == told([here.summary])
    assert len(pool.sent) == 2 * here.summary.pruned > 4
    assert max(pool.sent) < 2000
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
def test_a_weight_whose_worker_always_dies_has_its_counts_and_the_reason(model, tmp_path):
    class Deadly(ThreadPoolExecutor):
        def submit(self, function, /, *arguments):
            return super().submit(lambda: (_ for _ in ()).throw(LostJobError("its process died")))

    with Deadly(1) as pool:
        rows = prune_checkpoint(model, tmp_path / "out.safetensors", sparsity=0.5, d=None, executor=pool).rows
    [row] = [row for row in rows if row.name == "net.2.weight"]
    assert row.before == {"nnz": 400, "sparsity": 0, "reason": "its process died"}
    assert row.after == {"nnz": 200, "sparsity": 0.5, "reason": "its process died"}


def test_what_is_read_or_written_once_is_refused_before_anything_is_written(pool, model, capsys):
    with pytest.raises(SaoError, match=r"standard output is read or written once, .*: name files, or leave out --jobs"):
        prune_checkpoint(model, "-", sparsity=0.5, executor=pool)
    assert capsys.readouterr().out == ""


def test_a_file_that_was_changed_is_refused(stack):
    with open(stack.file.path, "ab") as file:
        file.write(b"0")
    with pytest.raises(FormatError, match="was changed while it was being read"):
        placed_layers(0, place=stack)


def test_a_checkpoint_knows_where_it_was_opened(model):
    with open_checkpoint(model) as checkpoint:
        assert checkpoint.path == model
