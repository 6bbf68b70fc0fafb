"""One tensor a job: the same rows wherever it is measured, and what is said of files that are not what they were."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sao_cli
from sao_cli.base.errors import FileError, FormatError, LostJobError, SaoError
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
from sao_cli.models import places
from sao_cli.models.audit import tensor_jobs
from sao_cli.models.audit.tensor_jobs import measured_entry
from sao_cli.models.places import CheckpointPlace
from sao_cli.study.executors import executor


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


MODEL = {f"net.{2 * k}.weight": normal(24, 24, seed=k) * (np.arange(24) % 3 > 0) for k in range(8)} | {
    "net.0.bias": normal(24),
    "conv.weight": normal(4, 2, 3, 3, seed=9),
    "torn.weight": np.array([[np.nan, 1.0]]),
    "wide.weight": normal(600, 520, seed=10),  # whose sums depend on BLAS's threads
}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    write_checkpoint(MODEL, path)
    return path


def told(audit):
    rows = [(row.to_dict(), None if row.skipped else row.singular_values) for row in audit]
    facts = [fact for fact, _ in rows]
    numbers = [b"" if values is None else values.tobytes() for _, values in rows]
    return facts, numbers, [chain.to_dict() for chain in audit.chains], audit.summary.to_dict()


def test_rows_are_the_same_bits_in_threads_and_in_processes_one_of_which_is_killed(model):
    asked = {"image": 5, "max_size": 400_000, "seed": 1}
    here = told(sao_cli.audit_checkpoint(model, **asked))
    assert told(sao_cli.audit_checkpoint(model, jobs=3, **asked)) == here
    with executor(2) as pool:
        audit = sao_cli.audit_checkpoint(model, executor=pool, **asked)
        next(iter(audit))
        for process in next(iter(pool._pools.values()))._processes.values():
            process.kill()
        assert told(audit) == here


def test_what_travels_is_small(model):
    sent = []

    class Watched(ThreadPoolExecutor):
        def submit(self, function, /, *args, **kwargs):
            future = super().submit(function, *args, **kwargs)
            sent.append((len(pickle.dumps((function, args))), len(pickle.dumps(future.result()))))
            return future

    with Watched(1) as pool:
        audit = sao_cli.audit_checkpoint(model, executor=pool)
        assert told(audit) == told(sao_cli.audit_checkpoint(model))
    assert len(sent) == 11  # no job for the bias
    assert max(asked for asked, _ in sent) < 2000
    assert max(row for _, row in sent) < 20_000 < 600 * 520


def test_a_tensor_whose_worker_always_dies_is_a_row_that_says_so(model):
    with executor(2) as pool:
        pool._run = lambda number, future, job: future.set_exception(LostJobError("its process died"))
        rows = sao_cli.audit_checkpoint(model, executor=pool, include=["net.*"], checks=["rank>0"])
        assert {row.reason for row in rows if row.kind} == {"its process died"}
        with pytest.raises(SaoError, match="all of its 9 tensors are skipped"):
            rows.require_rows()


def test_a_file_that_is_another_one_is_refused(model, monkeypatch):
    with open_checkpoint(model) as checkpoint:
        entry = next(one for one in checkpoint.entries if one.name == "net.0.weight")
    place = CheckpointPlace.of(model)
    asked = {"layout": tensor_jobs.Layout(), "max_size": None}
    assert measured_entry(place, entry, **asked).rank == 16
    model.write_bytes(model.read_bytes()[:-4])
    with pytest.raises(FormatError, match="was changed while it was being read"):
        measured_entry(place, entry, **asked)
    monkeypatch.setattr(places.platform, "node", lambda: "elsewhere")
    with pytest.raises(FileError, match=r"has \d+ bytes here and \d+ where it was named: another file"):
        measured_entry(place, entry, **asked)
    model.unlink()
    with pytest.raises(FileError, match="no such file"):
        measured_entry(place, entry, **asked)


def test_what_workers_can_t_read_is_refused_at_once(model):
    with ThreadPoolExecutor(1) as pool, open_checkpoint(model) as checkpoint:
        for what, asked, said in [
            (checkpoint, {}, "is open here, and workers read a file by its path"),
            ("-", {}, "standard input is read here, and workers"),
            (model, {"jobs": 2}, "an executor has workers of its own; give one"),
        ]:
            with pytest.raises(SaoError, match=said):
                sao_cli.audit_checkpoint(what, executor=pool, **asked)


def test_the_longest_is_handed_out_first_and_rows_come_by_name(tmp_path):
    sides = [(4, 4), (9, 9), (30, 6), (12, 12), (9, 9)]
    write_checkpoint({f"{k}.weight": np.eye(*side) for k, side in enumerate(sides)}, path := tmp_path / "m.safetensors")
    sent, shown = [], []

    class Watched(ThreadPoolExecutor):
        def submit(self, function, /, *args, **kwargs):
            sent.append(args[1]["entry"].shape)
            return super().submit(function, *args, **kwargs)

    with Watched(1) as pool:
        progress = lambda what, done, total: shown.append(done)  # noqa: E731
        rows = sao_cli.audit_checkpoint(path, executor=pool, progress=progress)
        assert [row.shape for row in rows] == sides
    assert sent == [(12, 12), (30, 6), (9, 9), (9, 9), (4, 4)]
    assert shown == [1, 2, 3, 4, 5]
