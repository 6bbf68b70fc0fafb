"""Bad input: one line that says what is wrong, at once, and never a wrong matrix."""

import errno
import gzip
import io
import subprocess
import sys

import numpy as np
import pytest

from sao_cli.base.errors import FileError, FormatError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.io import read_masks, read_matrices, write_masks

PATTERN = "%%MatrixMarket matrix coordinate pattern general\n"
REAL = "%%MatrixMarket matrix coordinate real general\n"
INTEGER = "%%MatrixMarket matrix coordinate integer general\n"
ARRAY = "%%MatrixMarket matrix array real general\n"

CASES = [
    ("", "it is empty; expected Matrix Market text"),
    ("\n", "at its start; expected"),
    ("hello world\n", "found b'hello world\\\\n' at its start; expected Matrix Market"),
    ("%%MatrixMarke", "found b'%%MatrixMarke' at its start"),
    # headers
    ("%%MatrixMarket", "line 1: expected the header"),
    ("%%MatrixMarketmatrix coordinate pattern general\n1 1 1\n1 1\n", "line 1: expected the header"),
    ("%%MatrixMarket vector coordinate pattern general\n1 1 1\n1 1\n", "line 1: expected the header"),
    ("%%MatrixMarket matrix sparse pattern general\n1 1 1\n1 1\n", "line 1: expected the header"),
    ("%%MatrixMarket matrix coordinate pattern\n1 1 1\n1 1\n", "line 1: expected the header"),
    ("%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 1\n", "complex, and the weights of a network"),
    ("%%MatrixMarket matrix coordinate complex hermitian\n1 1 1\n1 1 1 1\n", "complex, and the weights of a network"),
    ("%%MatrixMarket matrix coordinate text general\n1 1 1\n1 1\n", "field 'text' of an? coordinate matrix"),
    ("%%MatrixMarket matrix array pattern general\n1 1\n", "field 'pattern' of an array matrix"),
    ("%%MatrixMarket matrix coordinate real odd\n1 1 1\n1 1 1\n", "symmetry 'odd' of a real matrix"),
    ("%%MatrixMarket matrix coordinate pattern skew-symmetric\n1 1 0\n", "symmetry 'skew-symmetric' of a pattern"),
    # sizes
    (PATTERN, "not followed by a line of sizes"),
    (PATTERN + "% only a comment\n", "not followed by a line of sizes"),
    (PATTERN + PATTERN + "1 1 1\n1 1\n", "not followed by a line of sizes"),
    (PATTERN + "3 3\n1 1\n", "line 2: expected the sizes \"rows columns entries\" as whole numbers, found '3 3'"),
    (ARRAY + "3 3 9\n1\n", 'line 2: expected the sizes "rows columns"'),
    (PATTERN + "3.0 3 1\n1 1\n", "line 2: expected the sizes"),
    (PATTERN + "1_0 3 1\n1 1\n", "line 2: expected the sizes"),
    (PATTERN + "0 3 0\n", "line 2: sizes '0 3 0'; a layer needs at least one output and one input"),
    (PATTERN + "-3 3 1\n1 1\n", "line 2: sizes '-3 3 1'"),
    (PATTERN + "3 3 -1\n", "line 2: sizes '3 3 -1'"),
    (PATTERN + "4000000000 4000000000 1\n1 1\n", "positions past 2\\^63"),
    (
        "%%MatrixMarket matrix coordinate real symmetric\n2 3 0\n",
        "must be square, and this one is 2 x 3",
    ),
    ("%%MatrixMarket matrix array real skew-symmetric\n2 3\n", "skew-symmetric matrix must be square"),
    ("%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n1 1 3\n", "zeros on its diagonal"),
    # bodies
    (PATTERN + "3 3 2\n1 1\n", "2 entries declared, and the input ends after 1: it is cut off"),
    (PATTERN + "3 3 2\n1 1\n" + PATTERN, "2 entries declared, and the next header comes after 1"),
    (PATTERN + "3 3 1\n1 1\n2 2\n", "1 entries declared, and there are at least 2"),
    (PATTERN + "3 3 1\n1 1\n% talk\n2 2\n", "line 5: found '2 2' after the last entry"),
    (PATTERN + "3 3 0\n1 1\n", "line 3: found '1 1' after the last entry"),
    (PATTERN + "3 3 1\n1 1\n" + PATTERN[:9], "matrix 2: line 4: the input ends inside a header"),
    (
        PATTERN + "3 3 1\n1 1\n" + PATTERN + "3 3 2\n1 1\n",
        "matrix 2: 2 entries declared, and the input ends",
    ),
    (PATTERN + "3 3 2\n1 1\n4 1\n", "line 4: found '4 1'; its row must be one of 1 .. 3, counted from 1"),
    (PATTERN + "3 3 2\n1 1\n\n%\n1 0\n", "line 6: found '1 0'; its column must be one of 1 .. 3"),
    (PATTERN + "3 3 1\n1 99999999999999999999\n", "its column must be one of 1 .. 3"),
    (REAL + "3 3 1\n-1 1 1.5\n", "line 3: .*expected \"row column value\", found '-1 1 1.5'|its row must be one of"),
    (PATTERN + "3 3 1\n1 -1\n", "line 3: expected \"row column\", found '1 -1'"),
    (PATTERN + "3 3 1\n1 1 1\n", "line 3: expected \"row column\", found '1 1 1'"),
    (PATTERN + "3 3 2\n1\n1 2 2\n", "line 3: expected \"row column\", found '1'"),
    (PATTERN + "3 3 2\n1 1 2 2\n", "line 3: expected \"row column\", found '1 1 2 2'"),
    (PATTERN + "3 3 1\n1+1\n", "line 3: expected \"row column\", found '1\\+1'"),
    (PATTERN + "3 3 2\n1 1\n2 x\n", "line 4: expected \"row column\", found '2 x'"),
    (PATTERN + "3 3 1\n1 1\x00\n", 'line 3: expected "row column"'),
    (PATTERN + "3 3 1\n1 1 % why\n", 'line 3: expected "row column"'),
    (REAL + "3 3 1\n1 1\n", "line 3: expected \"row column value\", found '1 1'"),
    (REAL + "3 3 2\n1 1 1.5\n1 2 1-2\n", "line 4: expected \"row column value\", found '1 2 1-2'"),
    (REAL + "3 3 2\n1 1  1.5\n1-2 2 1\n", "line 4: expected \"row column value\", found '1-2 2 1'"),
    (REAL + "3 3 1\n1 1 1.5.5\n", "line 3: expected"),
    (REAL + "3 3 1\n1.5 1 1\n", "line 3: expected"),
    (REAL + "3 3 1\n1e0 1 1\n", "line 3: expected"),
    (REAL + "3 3 1\n1 1 1_0\n", "line 3: expected"),
    (REAL + "3 3 1\n1 1 0x10\n", "line 3: expected"),
    (REAL + "3 3 1\n1 1 NaN\n", "line 3: found '1 1 NaN'; every value must be a finite number"),
    (REAL + "3 3 2\n1 1 1\n1 2 -inf\n", "line 4: found '1 2 -inf'; every value must be a finite number"),
    (REAL + "3 3 1\n1 1 1e400\n", "line 3: found '1 1 1e400'; every value must be a finite number"),
    (REAL + "1 1 2\n1 1 1e308\n1 1 1e308\n", "inf at row 1, column 1; every value must be a finite number"),
    (INTEGER + "3 3 2\n1 1 1\n1 2 1.5\n", "line 4: found '1 2 1.5'; its header says that values are whole numbers"),
    (ARRAY + "2 2\n1\n2\n3\n", "4 entries declared, and the input ends after 3"),
    (ARRAY + "1 2\n1\n2\n3\n", "2 entries declared, and there are at least 3"),
    (ARRAY + "2 2\n\n \n", "4 entries declared, and the input ends after 0: it is cut off"),
    (ARRAY + "1 2\n1 2\n", "line 3: expected one number a line, found '1 2'"),
    (ARRAY + "1 2\n1\nnan\n", "line 4: found 'nan'; every value must be a finite number"),
    (PATTERN + '%sao {"seed": 1}\n1 9 1\n1 9', "line 4: the input ends inside the last line"),
    # other formats
    ("\x80\x04K\x01.", "this is a Python pickle .*, which is never read"),
    ("PK\x05\x06" + "\0" * 18, "a zip archive that is neither"),
    ("PK\x03\x04rest", "zip archive .* damaged or cut off"),
    ("\x93NUMPY", "can't be read"),
    ("\x1f\x8b\x08", "the compressed data is damaged or cut off"),
]


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
@pytest.mark.parametrize(("text", "problem"), CASES)
def test_one_line_that_names_the_problem(text, problem):
    with pytest.raises(FormatError, match=problem) as caught:
        read_masks(io.BytesIO(text.encode("latin-1")))
    assert str(caught.value).startswith("the input: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "text",
    [
        PATTERN + "1000000 1000000 1000000000000000\n1 1\n",
        PATTERN + "999999999999999 1 1\n1 1\n",
        PATTERN + "1 999999999999999 1\n1 1\n",
        REAL + "5 5 999999999999999999\n1 1 1\n",
        ARRAY + "1000000000 1000000000\n1\n",
        ARRAY.replace("general", "symmetric") + "1000000000 1000000000\n1\n",
    ],
)
def test_sizes_beyond_memory_are_refused_before_allocating(text):
    with pytest.raises(MemoryLimitError, match=r"needs .*B, and .*B is free; check its line of sizes"):
        read_masks(io.BytesIO(text.encode()))


def test_truncated_claim_of_many_entries_is_refused_at_once():
    with pytest.raises(FormatError, match="the input ends after 1"):
        read_masks(io.BytesIO((PATTERN + "100000 100000 50000000\n1 1\n").encode()))


# paths


def test_paths_that_are_no_readable_file(tmp_path):
    for path, problem in [
        (tmp_path / "none.mtx", "no such file"),
        (tmp_path, "it is a folder; name a file"),
        (__file__ + "/below", "a part of its path is a file"),
        ("a\0b", "null"),
        ("x" * 300, "the name is too long"),
    ]:
        with pytest.raises(FileError, match=problem) as caught:
            read_masks(path)
        assert "\n" not in str(caught.value)


class Folder(io.RawIOBase):
    """What `sao verify < folder` gets for its standard input."""

    def readable(self):
        return True

    def readinto(self, buffer):
        raise IsADirectoryError(errno.EISDIR, "Is a directory")


def test_a_folder_and_nothing_on_standard_input(monkeypatch):
    with open("/dev/null", "rb") as nothing:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(nothing))
        with pytest.raises(FormatError, match="standard input: it is empty"):
            read_masks("-")
    with io.BufferedReader(Folder()) as folder, pytest.raises(FileError, match="can't read the input: it is a folder"):
        read_masks(folder)
    with pytest.raises(FormatError, match="/dev/null: it is empty"):
        read_masks("/dev/null")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(FileError, match="standard input is closed"):
        read_masks("-")


def test_text_mode_is_named():
    with pytest.raises(FileError, match="open it in binary mode"):
        read_masks(io.StringIO(PATTERN))


# endless input

ENDLESS = [
    ("yes", "at its start"),
    ("yes ''", "at its start"),
    ("cat /dev/zero", "at its start"),
    ("yes '%%MatrixMarket matrix coordinate pattern general'", "not followed by a line of sizes"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; yes '% talk')", "comments and blank lines"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; cat /dev/zero)", "a line of more than"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; echo 2 2 2; yes '')", "comments and blank lines"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; echo 2 2 2; yes '1 1')", "there are at least"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; echo 2 2 1; echo 1 1; yes)", "expected"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; echo 2 2 0; yes)", "after the last entry"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; echo 2 2 0; yes '')", "comments and blank lines"),
    ("(echo '%%MatrixMarket matrix coordinate pattern general'; echo 2 2 2; tr '\\0' 1 < /dev/zero)", "a line of more"),
    ("(printf '\\020\\0\\0\\0\\0\\0\\0\\0{'; cat /dev/zero)", "header can't be read"),
    ("(printf '\\223NUMPY'; cat /dev/zero)", "can't be read"),
    ("yes | gzip -c", "at its start"),
]


@pytest.mark.parametrize(("command", "problem"), ENDLESS)
def test_endless_input_fails_at_once(command, problem):
    script = (
        "import resource, sys; from sao_cli.io import read_masks; from sao_cli.base.errors import SaoError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "try: read_masks('-')\nexcept SaoError as error: print(error)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{command} 2>/dev/null | "{sys.executable}" -c "$0"', script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert problem in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


# damage to every other format


def damaged(content, rng, rounds):
    for _ in range(rounds):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] = rng.integers(256)
        yield bytes(changed)
    for length in np.unique(np.linspace(0, len(content) - 1, 60).astype(int)).tolist():
        yield content[:length]


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
@pytest.mark.parametrize(
    ("suffix", "rounds"), [(".npz", 1500), (".npy", 1500), (".safetensors", 1500), (".mtx.gz", 1500), (".pt", 250)]
)
def test_damaged_files_raise_only_our_errors(tmp_path, suffix, rounds):
    rng = np.random.default_rng(3)
    path = tmp_path / f"mask{suffix}"
    write_masks(Mask.from_dense(rng.random((6, 7)) < 0.5, {"seed": 1}), path)
    content = path.read_bytes()
    refused = 0
    for changed in damaged(content, rng, rounds):
        try:
            read_matrices(io.BytesIO(changed))
        except SaoError as error:
            refused += 1
            assert "\n" not in str(error), error  # noqa: PT017 - the error is one of thousands
    assert refused > 60


def test_a_cut_safetensors_or_numpy_file_is_always_refused(tmp_path):
    for suffix in (".safetensors", ".npy"):
        path = tmp_path / f"mask{suffix}"
        write_masks(Mask.from_dense([[1, 0, 1], [0, 1, 1]]), path)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            for source in (path, io.BytesIO(content[:length])):
                with pytest.raises(FormatError):
                    read_masks(source)
        path.write_bytes(content + b"\0")
        for source in (path, io.BytesIO(content + b"\0")):
            with pytest.raises(FormatError):
                read_masks(source)


def test_cut_gzip_is_refused():
    content = gzip.compress((PATTERN + "3 3 2\n1 1\n2 2\n").encode())
    for length in range(2, len(content)):
        with pytest.raises(FormatError):
            read_masks(io.BytesIO(content[:length]))
    with pytest.raises(FormatError, match="at its start"):
        read_masks(io.BytesIO(gzip.compress(content)))
