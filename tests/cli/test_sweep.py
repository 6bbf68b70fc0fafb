"""A grid of runs: its rows in order and the same everywhere, what is kept, what is refused, and what fails."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from sao_cli import read_masks
from sao_cli.study.sweep_folder import LOCK

from .conftest import BIN
from .kills import usual_signals

MASKS = ["--over", "d=2,4", "--over", "seed=0..2", "--", "mask", "--m", 16, "--n", 16]
FIRST = {"record": "layer", "command": "mask", "seed": 0, "source": None, "run": 1, "over": {"d": 2, "seed": 0}}


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in ("sweep.json", LOCK))


def test_every_combination_is_a_row_with_its_run_and_parameters(sao_in_process):
    done = sao_in_process("sweep", *MASKS, "--json")
    assert done.code == 0
    assert [row["over"] for row in done.rows] == [{"d": d, "seed": seed} for d in (2, 4) for seed in (0, 1, 2)]
    assert [(row["run"], row["d"], row["seed"]) for row in done.rows][3] == (4, 4, 0)
    assert FIRST.items() <= done.rows[0].items()
    assert list(done.rows[0])[:7] == ["record", "command", "version", "seed", "source", "run", "over"]


def test_parameters_fill_in_what_is_no_option_and_step_together(sao_in_process, tmp_path):
    for d in (2, 4):
        sao_in_process("mask", "--m", 16, "--n", 16, "--d", d, "-o", f"{d}.mtx")
    done = sao_in_process(
        "sweep", "--over", "d=2,4", "--over", "criterion=paper,standard", "--zip", "--", "verify", "{d}.mtx"
    )
    assert [(row["source"], row["criterion"], row["run"]) for row in done.rows] == [
        ("2.mtx", "paper", 1),
        ("4.mtx", "standard", 2),
    ]
    assert done.code == 1  # the standard condition does not hold of the second
    assert "a check of 1 of 2 runs failed" in done.err
    asked = ["--over", "m=8,16", "--over", "n=8,16", "--over", "seed=0..1", "--zip", "m,n", "--", "mask", "--json"]
    assert [(row["m"], row["n"], row["seed"]) for row in sao_in_process("sweep", *asked).rows] == [
        *((8, 8, 0), (8, 8, 1)),
        *((16, 16, 0), (16, 16, 1)),
    ]


def test_flags_are_true_or_false(sao_in_process):
    asked = ["sweep", "--over", "augment=true,false", "--", "train", "--epochs", 0, "--depth", 2, "--width", 8]
    done = sao_in_process(*asked, "--jacobian-at", "none", "--data", "digits")
    assert [row["record"] for row in done.rows] == ["failure", "epoch"]  # digits are not augmented
    assert "augment" in done.rows[0]["reason"]


def test_a_run_that_fails_is_a_row_and_the_exit_code(sao_in_process):
    done = sao_in_process("sweep", "--over", "d=2,3,4", "--", "mask", "--m", 8, "--n", 8, "--json")
    assert done.code == 1
    assert [row["record"] for row in done.rows] == ["layer", "failure", "layer"]
    assert done.rows[1]["exit_code"] == 2
    assert done.rows[1]["reason"].startswith("sao mask: no sao mask of 8 x 8 with d = 3")
    assert done.rows[1]["over"] == {"d": 3}
    assert "1 of 3 runs failed; the first: run 2 (d=3)" in done.err


def test_matrices_are_one_stream_without_those_that_failed(sao_in_process, pipe, tmp_path):
    done = sao_in_process("sweep", "--over", "d=2,3,4", "--over", "seed=0..1", "--", "mask", "--m", 8, "--n", 8)
    assert done.code == 1
    (tmp_path / "stack.mtx").write_text(done.out)
    assert [mask.nnz for mask in read_masks(str(tmp_path / "stack.mtx"))] == [16, 16, 32, 32]
    assert "run 3 (d=3, seed=0) failed: sao mask: no sao mask" in done.err
    line = "sao sweep --over seed=0..1 -o kept -- weights --m 8 --n 8 --d 2 | sao spectrum --json"
    first, again = pipe(line), pipe(line)
    assert [row["sigma_min"] for row in first.rows] == pytest.approx([1, 1])
    assert (first.out, again.code) == (again.out, 0)
    assert files(tmp_path / "kept") == ["run-0001.mtx", "run-0002.mtx"]


def test_kernels_are_one_stack(pipe):
    done = pipe("sao sweep --over d=2,4 -- kernel --c-in 8 --c-out 8 | sao spectrum --image 9 --json")
    assert (done.code, [row["sparsity"] for row in done.rows]) == (0, [0.75, 0.5])


def test_a_table_has_the_parameters_and_the_columns_of_the_command(sao_in_process):
    done = sao_in_process("sweep", "--table", "--summary", "density", *MASKS)
    head = done.out.split("──")[0]
    assert all(word in head for word in ("run", "over.", "seed", "nnz"))
    assert "mean: 0.125" in done.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sweep --over d=2 -- mask --nothing 1", "run 1 (d=2): No such option '--nothing'"),
        ("sweep --over d=2,x -- mask", "run 2 (d=x): Invalid value for '--d'"),
        ("sweep --over dd=2 -- mask", "sao mask has no option 'dd'"),
        ("sweep --over d=2 -- maks", "no command to sweep: 'maks'; did you mean 'mask'?"),
        ("sweep --over d=2 -- sweep", "no command to sweep: 'sweep'"),
        ("sweep --over d=2 --over d=4 -- mask", "--over names a parameter twice"),
        ("sweep --over d=2,2 -- mask", "a value twice"),
        ("sweep --over d -- mask", "write NAME=A,B,C"),
        ("sweep --over d=4..0:2 -- mask", "never ends"),
        ("sweep --over d=0..99999999 -- mask", "1000000 are the most"),
        ("sweep --over d=2,4 --over c=1 --zip -- mask", "these have d 2, c 1"),
        ("sweep --over d=2,4 -- mask -o a.mtx", "run 1 and run 2 (d=4) both write 'a.mtx'; put {d} into its name"),
        ("sweep --over d=2,4 -- mask -o -", "-o - of a run"),
        ("sweep --over d=2,4 -- mask --table", "stand before the command"),
        ("sweep --over seed=2,4 -- verify -", "reads no standard input"),
        ("sweep --over d=2 --summary lambda_3 -- mask", "no report has the field 'lambda_3'; did you mean 'lambda_2'"),
        ("sweep --over d=2 --plot lambda_2=a.gif -- mask", "its format is not known"),
        ("sweep --over d=2 --jobs 2 --cluster tcp://127.0.0.1:9 -- mask", "give one of them"),
        ("sweep --over d=2 --cluster nowhere -- mask", "no scheduler answers at 'nowhere'"),
        ("sweep --over d=2", "Missing argument"),
        ("sweep -- mask", "Missing option '--over'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(sao_in_process, tmp_path, line, said):
    done = sao_in_process(*line.split())
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_keeps_what_is_done_and_a_second_call_does_the_rest(sao_in_process, tmp_path):
    asked = ["sweep", "--summary", "density", "-o", "runs", *MASKS]
    first = sao_in_process(*asked)
    assert files(tmp_path / "runs") == [f"run-{k:04d}.jsonl" for k in range(1, 7)]
    lost = tmp_path / "runs" / "run-0003.jsonl"
    content = lost.read_bytes()
    lost.unlink()
    stamp = (tmp_path / "runs" / "run-0001.jsonl").stat().st_mtime_ns
    again = sao_in_process(*asked)
    assert (again.out, again.code) == (first.out, 0)
    assert lost.read_bytes() == content
    assert (tmp_path / "runs" / "run-0001.jsonl").stat().st_mtime_ns == stamp
    assert "5 of 6 runs are kept in runs, and the others are done now" in again.err
    assert [json.loads(line) for line in content.splitlines()] == [row for row in first.rows if row.get("run") == 3]


def test_a_run_that_failed_is_tried_again_and_one_whose_check_failed_is_kept(sao_in_process, tmp_path):
    sao_in_process("mask", "--m", 16, "--n", 16, "--d", 4, "-o", "a.mtx")
    asked = ["sweep", "-o", "runs", "--over", "mask=a,b", "verify", "{mask}.mtx", "--criterion", "standard"]
    first = sao_in_process(*asked)
    assert [row["record"] for row in first.rows] == ["layer", "failure"]
    assert files(tmp_path / "runs") == ["run-0001.fails.jsonl"]
    sao_in_process("mask", "--m", 16, "--n", 16, "--d", 4, "--method", "ramanujan", "-o", "b.mtx")
    second = sao_in_process(*asked)
    assert [row["holds"] for row in second.rows] == [False, True]
    assert (first.code, second.code) == (1, 1)
    assert first.rows[0] == second.rows[0]


def test_another_sweep_in_the_folder_is_refused_and_so_are_two_at_once(sao_in_process, tmp_path):
    import fcntl

    sao_in_process("sweep", "-o", "runs", *MASKS)
    other = sao_in_process("sweep", "-o", "runs", "--over", "d=2", *MASKS[2:])
    assert (other.code, other.out) == (2, "")
    assert "runs holds another sweep: its over differ" in other.err
    with (tmp_path / "runs" / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = sao_in_process("sweep", "-o", "runs", *MASKS)
    assert (busy.code, busy.out) == (2, "")
    assert "another sweep works in runs now" in busy.err
    (tmp_path / "file").touch()
    assert "is a file, and -o names a folder" in sao_in_process("sweep", "-o", "file/runs", *MASKS).err


def test_a_full_disk_ends_the_sweep_and_leaves_whole_runs(sao_in_process, tmp_path, monkeypatch):
    import errno

    from sao_cli.study import sweep_folder

    real, calls = sweep_folder.atomic_output, []

    def filling(path):
        calls.append(path)
        if len(calls) == 4:  # sweep.json and two runs have room
            raise sweep_folder.FileError(f"can't write {path.name}: {os.strerror(errno.ENOSPC)}")
        return real(path)

    monkeypatch.setattr(sweep_folder, "atomic_output", filling)
    done = sao_in_process("sweep", "-o", "runs", *MASKS)
    assert done.code == 2
    assert "can't write run-0003.mtx" in done.err
    assert files(tmp_path / "runs") == ["run-0001.mtx", "run-0002.mtx"]
    again = sao_in_process("sweep", "-o", "runs", *MASKS)
    assert (again.code, again.out) == (0, sao_in_process("sweep", *MASKS).out)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of four pages, and what gives it more; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(*options):
        command = ["mount", "-t", "tmpfs", *options, "none", folder]
        return shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mounted("-o", "size=16k"):
        pytest.skip("no disk can be mounted here")
    yield folder, lambda: mounted("-o", "remount,size=1m")
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full_leaves_whole_runs_and_the_same_call_goes_on(sao_in_process, small_disk):
    folder, enlarge = small_disk
    asked = ["sweep", "-o", str(folder / "runs"), *MASKS]
    full = sao_in_process(*asked)
    assert full.code == 2
    assert re.search(r"can't write .*run-000\d\.mtx: the disk is full; free some space", full.err)
    kept = files(folder / "runs")
    assert 0 < len(kept) < 6
    before = {name: (folder / "runs" / name).read_bytes() for name in kept}
    assert enlarge()
    again = sao_in_process(*asked)
    assert (again.code, again.out) == (0, sao_in_process("sweep", *MASKS).out)
    assert all((folder / "runs" / name).read_bytes() == content for name, content in before.items())


def test_a_closed_pipe_ends_the_printing_and_no_run(pipe, tmp_path):
    done = pipe("sao sweep --over d=2..8:2 --over seed=0..24 -o runs -- mask --m 240 --n 240 | head -1")
    assert (done.code, done.out[:14]) == (0, "%%MatrixMarket")
    assert len(files(tmp_path / "runs")) == 100


def test_rows_of_training_hold_no_timings_and_the_summary_is_of_the_last_epochs(sao_in_process):
    asked = ["--over", "method=sao,rg-n", "--over", "seed=0..2", "--summary", "test_accuracy", "--", "train"]
    done = sao_in_process("sweep", *asked, "--depth", 2, "--width", 8, "--epochs", 1, "--jacobian-at", "none")
    assert [row["record"] for row in done.rows] == ["epoch"] * 12 + ["summary"] * 2
    assert not [row for row in done.rows if "seconds" in row]
    last = [row["test_accuracy"] for row in done.rows if row.get("epoch") == 1 and row["over"]["method"] == "sao"]
    told = done.rows[-2]
    assert told["mean"] == pytest.approx(sum(last) / 3)
    assert (told["least"], told["largest"], told["count"]) == (min(last), max(last), 3)
    assert told["std"] == pytest.approx((sum((x - sum(last) / 3) ** 2 for x in last) / 2) ** 0.5)
    assert (told["over"], told["of"], told["failed"]) == ({"method": "sao"}, {}, 0)


SPECTRA = ["spectrum", "--m", "160", "--n", "160", "--sparsity", "0.9", "--singular-values"]
GRID = ["--over", "method=lmp,dense", "--over", "seed=0..9", "--summary", "sigma_max"]


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory):
    """What a sweep of twenty spectra prints in one process."""
    command = [BIN / "sao", "sweep", *GRID, "--", *SPECTRA]
    return subprocess.run(command, capture_output=True, check=True, cwd=tmp_path_factory.mktemp("sweep")).stdout


def when_a_run_is_kept(folder, process):
    deadline = time.monotonic() + 90
    while not list(folder.glob("run-*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)


def test_killed_in_the_middle_on_two_processes_it_completes_to_the_same_bytes(in_one_process, tmp_path):
    command = [BIN / "sao", "sweep", *GRID, "--jobs", "2", "-o", tmp_path / "runs", "--", *SPECTRA]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, start_new_session=True, preexec_fn=usual_signals, **streams) as begun:
        when_a_run_is_kept(tmp_path / "runs", begun)
        os.killpg(begun.pid, signal.SIGINT)
        said = begun.communicate(timeout=90)[1].decode()
    assert begun.returncode == 130, said
    assert "of 20 runs are kept; the same call does the others" in said
    assert "Traceback" not in said
    assert 0 < len(files(tmp_path / "runs")) < 20
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == in_one_process


def test_on_a_cluster_one_worker_killed_in_the_middle_gives_the_same_bytes(in_one_process, tmp_path, dask):
    command = [BIN / "sao", "sweep", *GRID, "--cluster", dask.address, "-o", tmp_path / "runs", "--", *SPECTRA]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as begun:
        when_a_run_is_kept(tmp_path / "runs", begun)
        dask.workers[0].kill()
        out, said = begun.communicate(timeout=90)
    assert begun.returncode == 0, said
    assert out == in_one_process


def test_a_picture_of_the_field(sao_in_process, tmp_path):
    pytest.importorskip("matplotlib")
    done = sao_in_process("sweep", "--plot", "density", "-o", "runs", *MASKS)
    assert "the picture is runs/density.png" in done.err
    assert (tmp_path / "runs" / "density.png").read_bytes().startswith(b"\x89PNG")
    assert sys.modules["matplotlib"]
