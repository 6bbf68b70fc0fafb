"""Writing aside and renaming: the whole file or the old one, and nothing left behind."""

import errno
import io
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from sao_cli.base.errors import FileError
from sao_cli.data.mask import Mask
from sao_cli.io import atomic_output, read_masks, write_masks

MASK = Mask.from_dense(np.eye(4))


def write(path, content=b"new"):
    with atomic_output(path) as file:
        file.write(content)


def test_new_file_and_replaced_file(tmp_path):
    for content in (b"first", b"second"):
        write(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
    assert os.listdir(tmp_path) == ["x"]


def test_nothing_is_there_before_the_block_ends(tmp_path):
    with atomic_output(tmp_path / "x") as file:
        file.write(b"new")
        assert not (tmp_path / "x").exists()
        assert len(os.listdir(tmp_path)) == 1


def write_half(path, failure):
    with atomic_output(path) as file:
        file.write(b"half")
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, BrokenPipeError, MemoryError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_leaves_what_was_there(tmp_path, failure, old):
    path = tmp_path / "x"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(failure):
        write_half(path, failure)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_failing_rename_and_a_failing_flush_leave_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(FileError, match=f"can't write {path}: the disk is full; free some space"):
                write(path)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_file_size_limit(tmp_path):
    path = tmp_path / "x.mtx"
    path.write_bytes(b"old")
    script = (
        "import resource, signal, sys; import numpy as np; from sao_cli.io import write_masks\n"
        "from sao_cli.data.mask import Mask; from sao_cli.base.errors import FileError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "for side in (10, 400):\n"  # within the buffer, so that it shows at the flush; and past it
        "    try: write_masks(Mask.from_dense(np.ones((side, side))), sys.argv[1])\n"
        "    except FileError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    problem = "it grew past the file-size limit; raise it (ulimit -f), or write elsewhere"
    assert done.stdout == f"can't write {path}: {problem}\n" * 2
    assert done.stderr == ""
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_device_and_full_standard_output():
    with pytest.raises(FileError, match="can't write /dev/full: the disk is full"):
        write_masks(MASK, "/dev/full")
    script = "from sao_cli.io import *; from sao_cli.data.mask import Mask; write_masks(Mask.from_dense([[1]]), '-')"
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True)
    assert "FileError: can't write standard output: the disk is full" in done.stderr


def test_broken_pipe_passes(tmp_path):
    ours, theirs = os.pipe()
    os.close(ours)
    wide = Mask.from_dense(np.ones((300, 300)))
    with pytest.raises(BrokenPipeError), os.fdopen(theirs, "wb", 0) as writer:
        write_masks(wide, writer)
    script = (
        "from sao_cli.io import *; from sao_cli.data.mask import Mask; import numpy as np, os\n"
        "try: write_masks(Mask.from_dense(np.ones((900, 900))), '-')\n"
        "except BrokenPipeError: os.write(2, b'gone'); os._exit(0)"
    )
    command = ["bash", "-c", f'"{sys.executable}" -c "$0" | head -1', script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "%%MatrixMarket matrix coordinate pattern general\n"
    assert done.stderr == "gone"


def test_paths_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path, problem in [
        (tmp_path / "none" / "x.mtx", "the folder .*none does not exist; create it, or choose another"),
        (tmp_path / "file" / "x.mtx", "a part of its path is a file|the folder .*file does not exist"),
        (tmp_path, "it is a folder; name a file"),
        (tmp_path / "circle", "its symbolic links go round in a circle"),
        (tmp_path / ("x" * 300), "the name is too long"),
        ("a\0b", "a path holds no null character"),
        ("/proc/x", "can't write /proc/x: "),
    ]:
        with pytest.raises(FileError, match=problem) as caught:
            write(path)
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["circle", "file"]


def test_a_file_that_open_could_not_write_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write whatever its mode
    with pytest.raises(FileError, match="permission denied; change its permissions, or choose another place"):
        write(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_mode_is_what_open_would_give(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "x")
        (tmp_path / "y").write_bytes(b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "y").stat().st_mode)
    (tmp_path / "x").chmod(0o640)
    write(tmp_path / "x")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_symbolic_links_keep_pointing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/target")
    (tmp_path / "dangling").symlink_to("folder/later")
    write(tmp_path / "link")
    write(tmp_path / "dangling", b"later")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "target").read_bytes() == b"new"
    assert (tmp_path / "folder" / "later").read_bytes() == b"later"
    assert sorted(os.listdir(tmp_path / "folder")) == ["later", "target"]


def test_names_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_masks(MASK, "x.mtx")
    assert read_masks("x.mtx") == [MASK]


def test_devices_and_named_pipes_are_written_through(tmp_path):
    write_masks(MASK, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    thread = threading.Thread(target=lambda: found.extend(read_masks(pipe)))
    thread.start()
    write_masks(MASK, pipe)
    thread.join()
    assert found == [MASK]
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_dev_stdout_appends_to_what_a_redirection_holds(tmp_path, name):
    script = (
        f"from sao_cli.io import *; from sao_cli.data.mask import Mask; write_masks(Mask.from_dense([[1]]), '{name}')"
    )
    command = f'{{ echo before; "{sys.executable}" -c "$0"; echo after; }} > "$1"'
    subprocess.run(["bash", "-c", command, script, tmp_path / "out"], check=True)
    lines = (tmp_path / "out").read_text().splitlines()
    assert [lines[0], lines[-2:]] == ["before", ["1 1", "after"]]


def test_process_substitution_is_read():
    script = "import sys; from sao_cli.io import *; print(read_masks(sys.argv[1]))"
    text = "%%MatrixMarket matrix coordinate pattern general\\n1 1 1\\n1 1\\n"
    command = ["bash", "-c", f'"{sys.executable}" -c "$0" <(printf "{text.replace("%", "%%")}")', script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[Mask(1 x 1, nnz=1, method='given')]\n"


def test_file_objects_stay_open_and_errors_name_them():
    file = io.BytesIO()
    write_masks(MASK, file)
    file.seek(0)
    assert read_masks(file) == [MASK]
    assert not file.closed

    class Full(io.RawIOBase):
        name = "full.mtx"

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FileError, match=r"can't write full\.mtx: the disk is full"):
        write_masks(MASK, Full())
