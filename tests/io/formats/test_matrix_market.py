"""Matrix Market: what we write comes back bit for bit, here and in scipy; what scipy writes is read."""

import io
import os
import threading
import warnings

import networkx as nx
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError, SaoWarning
from sao_cli.data.mask import Mask
from sao_cli.io import Matrix, read_masks, read_matrices, write_masks, write_matrices

MASKS, MATRICES = st.from_type(Mask), st.from_type(Matrix)


def text_of(matrices):
    file = io.BytesIO()
    write_matrices(matrices, file)
    return file.getvalue()


def read(text, **options):
    return read_matrices(io.BytesIO(text if isinstance(text, bytes) else text.encode()), **options)


def dense(text):
    (matrix,) = read(text)
    return matrix.to_dense()


@given(st.lists(MATRICES, min_size=1, max_size=3))
def test_stack_comes_back_bit_for_bit(stack):
    found = read(text_of(stack))
    assert found == stack
    assert [matrix.mask.provenance for matrix in found] == [matrix.mask.provenance for matrix in stack]
    for matrix, given_ in zip(found, stack, strict=True):
        if given_.values is not None:
            np.testing.assert_array_equal(matrix.values.view(np.uint64), given_.values.view(np.uint64))


def test_text_is_what_the_format_asks():
    mask = Mask.from_dense([[0, 1, 0], [1, 0, 1]], {"method": "sao", "seed": 3})
    assert text_of(Matrix(mask)) == (
        b'%%MatrixMarket matrix coordinate pattern general\n%sao {"method": "sao", "seed": 3}\n2 3 3\n1 2\n2 1\n2 3\n'
    )
    assert text_of(Matrix(Mask.from_dense([[1]]), [0.1])) == (
        b"%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 0.1\n"
    )


def test_provenance_of_numpy_numbers_is_plain_json():
    mask = Mask.from_dense([[1]], {"seed": np.int64(3), "x": np.float32(0.5), "sizes": np.arange(2), "nothing": np.nan})
    assert read(text_of(Matrix(mask)))[0].mask.provenance == {"seed": 3, "x": 0.5, "sizes": [0, 1], "nothing": None}


@pytest.mark.parametrize(
    "n", [9, 10, 99, 100, 9999, 10_000, 65_535, 99_999, 10**8 - 1, 10**9, 2**31, 10**10, 10**12, 10**16, 9 * 10**18]
)
def test_positions_next_to_powers_of_ten(n):
    columns = np.unique(np.clip([0, 8, 9, 10, 98, 99, 100, 999, 99_998, 99_999, n - 2, n - 1], 0, n - 1))
    mask = Mask(np.array([0, len(columns)]), columns, (1, n))
    lines = text_of(Matrix(mask)).splitlines()[2:]
    assert lines == [f"1 {column + 1}".encode() for column in columns.tolist()]


def test_values_are_written_as_repr_writes_them():
    rng = np.random.default_rng(3)
    short = rng.integers(1, 10**6, 3000) / 10.0 ** rng.integers(0, 12, 3000)
    powers = np.concatenate([2.0 ** np.arange(-1074, 1024), [float(f"1e{power}") for power in range(-323, 309)]])
    finite = np.abs(rng.integers(-(2**63), 2**63 - 1, 3000).view(np.float64))
    values = np.concatenate([rng.standard_normal(3000), -short, 10.0 ** rng.uniform(-6, 18, 6000), powers])
    values = np.concatenate([values, np.nextafter(values, np.inf), np.float32(values[:3000]), finite[finite < np.inf]])
    mask = Mask(np.array([0, len(values)]), np.arange(len(values)), (1, len(values)))
    lines = text_of(Matrix(mask, values)).decode().splitlines()[2:]
    assert lines == [f"1 {column} {value!r}" for column, value in enumerate(values.tolist(), 1)]


def test_more_entries_than_one_block_of_the_writer_and_the_reader():
    rng = np.random.default_rng(1)
    columns = np.cumsum(rng.integers(1, 1000, (70_000, 4)), axis=1)
    mask = Mask(np.arange(0, 280_001, 4), columns.ravel(), (70_000, 4000))
    values = rng.standard_normal(mask.nnz)
    assert len(text_of(Matrix(mask))) > 1.2 * 2**21
    assert read(text_of([Matrix(mask), Matrix(mask, values)])) == [Matrix(mask), Matrix(mask, values)]
    ours = scipy.io.mmread(io.BytesIO(text_of(Matrix(mask, values))), spmatrix=False).tocsr()
    assert (ours != Matrix(mask, values).to_scipy()).nnz == 0


# scipy as the second party


@given(MATRICES)
def test_scipy_reads_what_we_write(matrix):
    found = scipy.io.mmread(io.BytesIO(text_of(matrix)), spmatrix=False)
    np.testing.assert_array_equal(found.toarray(), matrix.to_dense().astype(float))


SYMMETRIES = {
    "general": lambda square: square,
    "symmetric": lambda square: np.tril(square) + np.tril(square, -1).T,
    "skew-symmetric": lambda square: np.tril(square, -1) - np.tril(square, -1).T,
}


DTYPES = [bool, np.int8, np.uint16, np.int64, np.uint64, np.float32, np.float64]
SIGNED = [dtype for dtype in DTYPES if np.dtype(dtype).kind in "if"]


@pytest.mark.parametrize("layout", ["array", "coo", "csr", "csc"])
@pytest.mark.parametrize(
    ("symmetry", "dtype"),
    [(symmetry, dtype) for symmetry in SYMMETRIES for dtype in (SIGNED if symmetry.startswith("skew") else DTYPES)],
)
def test_we_read_what_scipy_writes(dtype, layout, symmetry):
    rng = np.random.default_rng(5)
    for size in (1, 2, 7):
        square = rng.integers(-3 if dtype in SIGNED else 0, 4, (size, size)) * (rng.random((size, size)) < 0.6)
        square = SYMMETRIES[symmetry](square).astype(dtype)
        if dtype in (np.float32, np.float64):
            square = square / dtype(3)
        file = io.BytesIO()
        written = square if layout == "array" else scipy.sparse.coo_array(square).asformat(layout)
        scipy.io.mmwrite(file, written, symmetry=symmetry)
        assert symmetry.encode() in file.getvalue()
        np.testing.assert_array_equal(dense(file.getvalue()).astype(dtype), square)  # float32: in its own digits


@pytest.mark.parametrize("symmetry", ["general", "symmetric"])
def test_we_read_patterns_that_scipy_writes(symmetry):
    square = SYMMETRIES[symmetry]((np.random.default_rng(2).random((8, 8)) < 0.3).astype(int)) != 0
    file = io.BytesIO()
    scipy.io.mmwrite(
        file, scipy.sparse.csc_array(square), field="pattern", symmetry=symmetry, comment="by scipy\n2 lines"
    )
    (matrix,) = read(file.getvalue())
    assert matrix.values is None
    np.testing.assert_array_equal(matrix.to_dense(), square)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-9, 9)))
def test_rectangular_arrays_are_read_column_by_column(array):
    file = io.BytesIO()
    scipy.io.mmwrite(file, array, symmetry="general", precision=17)
    np.testing.assert_array_equal(dense(file.getvalue()), array)


def test_heawood_graph_from_networkx():
    graph = nx.heawood_graph()
    inputs = [node for node in graph if node % 2 == 0]
    biadjacency = nx.bipartite.biadjacency_matrix(graph, inputs, [node for node in graph if node % 2])
    file = io.BytesIO()
    scipy.io.mmwrite(file, biadjacency)
    (mask,) = read_masks(io.BytesIO(file.getvalue()))
    assert set(mask.row_degrees) == set(mask.column_degrees) == {3}
    np.testing.assert_array_equal(mask.to_dense(), biadjacency.toarray())


# the ways in which others write it

PATTERN = "%%MatrixMarket matrix coordinate pattern general\n"
REAL = "%%MatrixMarket matrix coordinate real general\n"
EXPECTED = [[False, True, False], [True, False, True]]


@pytest.mark.parametrize(
    "text",
    [
        PATTERN + "2 3 3\n1 2\n2 1\n2 3\n",
        PATTERN + "2 3 3\n2 3\n1 2\n2 1\n",
        PATTERN.upper() + "2 3 3\n1 2\n2 1\n2 3\n",
        PATTERN.lower() + "2 3 3\n1 2\n2 1\n2 3\n",
        PATTERN + "% one\n\n  % two\n%\n2 3 3\n\n1 2\n% three\n2 1\n\n  %four\n2 3\n\n%% end\n\n",
        (PATTERN + "2 3 3\n1 2\n2 1\n2 3\n").replace("\n", "\r\n"),
        PATTERN + " 2\t3  3 \n 1 2\n2\t1\t\n\t2 \t 3  \n",
        PATTERN + "2 3 3\n01 2\n002 01\n2 3\n",
        PATTERN.replace(" ", "   ") + "2 3 3\n1 2\n2 1\n2 3\n",
        REAL + "2 3 3\n1 2 .5\n2 1 +1.\n2 3 -1E+2\n",
        REAL.replace("real", "double") + "2 3 3\n1 2 5e-324\n2 1 1\n2 3 1e308\n",
        REAL.replace("real", "integer") + "2 3 3\n1 2 -1\n2 1 9\n2 3 3\n",
        "%%MatrixMarket matrix array real general\n2 3\n0\n1\n\n2\n0\n% last\n0\n 3\n",
    ],
)
def test_ways_of_writing_the_same_mask(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (mask,) = read_masks(io.BytesIO(text.encode()))
    np.testing.assert_array_equal(mask.to_dense(), EXPECTED)


AT_ONCE = ["%d %d %.17g\n", "%12d %12d %26.17e\n", "  %d\t%d %.20E \r\n", "%d\v%d\f%.30f\n\n"]
ONE_BY_ONE = ["%020d %d %r\n", "%d %d %.40f\n", " %% six\n %d %d %r\n"]


@pytest.mark.parametrize("line", AT_ONCE + ONE_BY_ONE)
def test_ways_of_writing_many_entries(line, monkeypatch):
    if line in AT_ONCE:
        monkeypatch.delattr("sao_cli.io.formats.text.lines._line_by_line")
    rng = np.random.default_rng(4)
    matrix = Matrix.from_dense(rng.standard_normal((30, 20)) * (rng.random((30, 20)) < 0.9))
    entries = zip(matrix.mask.entry_rows + 1, matrix.mask.indices + 1, matrix.values.tolist(), strict=True)
    text = REAL + f"30 20 {matrix.mask.nnz}\n" + "".join(line % entry for entry in entries)
    assert read(text) == [matrix]
    for block in (1, 700):
        monkeypatch.setattr("sao_cli.io.formats.text.lines.BLOCK", block)
        assert read(text) == [matrix]


def test_indented_comments_and_long_digits_among_entries():
    text = (
        REAL + "2 3 3\n1 2 0.1\n  % talk\n" + "0" * 5000 + "2 1 " + "0." + "3" * 400 + "\n\n2 3 1e-5" + "0" * 3 + "\n"
    )
    with pytest.warns(SaoWarning, match="1 entry with the value 0"):
        assert dense(text).tolist() == [[0, 0.1, 0], [1 / 3, 0, 0]]


@pytest.mark.parametrize("block", [1, 30, 100])
def test_line_numbers_count_over_blocks(block, monkeypatch):
    monkeypatch.setattr("sao_cli.io.formats.text.lines.BLOCK", block)
    lines = [f"{row} 1 0.5\n" for row in range(1, 41)]
    with pytest.raises(FormatError, match="line 33: found '31 1 nan'"):
        read(REAL + "50 1 40\n" + "".join(lines[:30]) + "31 1 nan\n" + "".join(lines[31:]))
    with pytest.raises(FormatError, match="line 34: found '99 1 1'; its row"):
        read(REAL + "50 1 40\n" + "% talk\n" + "".join(lines[:30]) + "99 1 1\n" + "".join(lines[31:]))


def test_a_line_of_very_many_digits_is_refused_at_once():
    """A pattern that could split the digits in many ways would try them all, which takes hours."""
    with pytest.raises(FormatError, match="line 3: expected"):
        read(REAL + "1 1 1\n1 1 " + "1" * 900_000 + "x\n")


def test_last_line_without_end_is_read_with_a_warning():
    with pytest.warns(SaoWarning, match="the input: line 5: the last line has no end"):
        found = dense(PATTERN + "2 3 3\n1 2\n2 1\n2 3")
    np.testing.assert_array_equal(found, EXPECTED)
    with pytest.warns(SaoWarning, match="line 3"):
        np.testing.assert_array_equal(dense("%%MatrixMarket matrix array real general\n1 1\n7"), [[7]])


def test_explicit_zeros_are_dropped_and_said():
    with pytest.warns(SaoWarning, match="^the input: 2 entries with the value 0, left out of the mask$"):
        (matrix,) = read(REAL + "2 3 5\n1 1 0\n1 2 1\n2 1 1\n2 2 -0.0\n2 3 1\n")
    np.testing.assert_array_equal(matrix.mask.to_dense(), EXPECTED)
    assert matrix.values.tolist() == [1, 1, 1]


def test_repeated_entries_are_summed_as_scipy_sums_them():
    text = REAL + "2 3 6\n2 3 1\n1 2 0.5\n2 3 2\n1 2 0.25\n2 1 4\n2 3 0.5\n"
    with pytest.warns(SaoWarning, match="^the input: 3 entries at a position already given, summed$"):
        found = dense(text)
    np.testing.assert_array_equal(found, scipy.io.mmread(io.BytesIO(text.encode())).toarray())
    with pytest.warns(SaoWarning, match="1 entry at a position already given, counted once"):
        assert dense(PATTERN + "2 2 2\n1 1\n1 1\n").tolist() == [[True, False], [False, False]]


def test_warnings_name_the_document():
    text = PATTERN + "1 1 1\n1 1\n" + REAL + "1 2 2\n1 1 0\n1 2 1\n"
    with pytest.warns(SaoWarning, match="^the input: matrix 2: 1 entry with the value 0"):
        assert len(read(text)) == 2


def test_repeated_entries_that_cancel_are_zeros():
    with pytest.warns(SaoWarning) as said:
        assert read(REAL + "1 2 3\n1 1 1\n1 1 -1\n1 2 1\n")[0].mask.indices.tolist() == [1]
    assert len(said) == 2


@pytest.mark.parametrize("line", ["%sao {", "%sao []", "%sao nonsense", "%sao " + "[" * 5000, "%sao \xff"])
def test_malformed_provenance_is_passed_over_and_said(line):
    with pytest.warns(SaoWarning, match="line 2: the %sao comment is no JSON object"):
        (mask,) = read_masks(io.BytesIO((PATTERN + line + "\n1 1 1\n1 1\n").encode("latin-1")))
    assert mask.provenance == {}


def test_other_comments_are_no_provenance():
    assert read(PATTERN + '%sao {"a": [1]}\n%sao {"a": 2}\n%saos\n1 1 1\n1 1\n')[0].mask.provenance == {"a": [1]}


# pipes


class Trickle(io.RawIOBase):
    """A stream that gives `step` bytes at a time and can't seek, as a pipe may."""

    def __init__(self, content, step):
        self.content, self.step = io.BytesIO(content), step

    def readable(self):
        return True

    def read(self, size=-1):
        return self.content.read(self.step if size < 0 else min(size, self.step))


@pytest.mark.parametrize("step", [1, 2, 7, 64])
@given(stack=st.lists(MATRICES, min_size=1, max_size=2))
def test_trickling_stream(step, stack):
    assert read_matrices(Trickle(text_of(stack), step)) == stack


@given(MASKS)
def test_real_pipe(mask):
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reader, os.fdopen(theirs, "wb") as writer:

        def produce():
            write_masks([mask, mask], writer)
            writer.close()

        thread = threading.Thread(target=produce)
        thread.start()
        assert read_masks(reader) == [mask, mask]
        thread.join()


def test_standard_streams(monkeypatch, capfdbinary):
    mask = Mask.from_dense(EXPECTED, {"seed": 1})
    write_masks(mask, "-")
    text = capfdbinary.readouterr().out
    assert text == text_of(Matrix(mask))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert read_masks("-") == [mask]


# what is cut off, or changed on the way


def outcome(text):
    """What reading `text` gives, a SaoError included, and what it warns of; any other error passes."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = read(text)
        except SaoError as error:
            found = error
    lines = [str(warning.message) for warning in said]
    assert not any("\n" in line for line in [*lines, str(found) if isinstance(found, SaoError) else ""])
    return found, lines


@pytest.mark.parametrize("provenance", [{}, {"method": "sao", "seed": 0}])
@pytest.mark.parametrize("values", [False, True])
def test_a_cut_at_any_byte_is_an_error_or_leaves_whole_documents(provenance, values):
    rng = np.random.default_rng(4)
    stack = []
    for layer in range(3):
        mask = Mask.from_dense(rng.random((5, 12)) < 0.3, provenance and {**provenance, "layer": layer})
        stack.append(Matrix(mask, rng.standard_normal(mask.nnz) if values else None))
    text = text_of(stack)
    ends = {len(text_of(stack[:count])): stack[:count] for count in (1, 2, 3)}
    for length in range(len(text) + 1):
        found, said = outcome(text[:length])
        if isinstance(found, FormatError):
            assert length not in ends
        elif provenance or not said:
            assert found == ends[length]
        else:  # another program's text may lack the last line end, and then only the last line may differ
            assert "the last line has no end" in said[0]
            assert text[length : length + 1] == b"\n" or found != stack[: len(found)]


def test_a_biregular_mask_may_lack_its_last_line_end_and_nothing_else():
    """Its degrees, which the provenance tells, would not come out with another last number."""
    groups = np.arange(240) // 2
    mask = Mask.from_dense(groups[:, None] == groups[None, :], {"method": "sao", "c": 2, "d": 2})
    text = text_of([Matrix(mask)])
    found, said = outcome(text[:-1])
    assert found == [Matrix(mask)]
    assert said == []
    for length in range(len(text) - 12, len(text) - 1):
        assert isinstance(outcome(text[:length])[0], FormatError)


def test_fuzzed_text_raises_only_our_errors():
    rng = np.random.default_rng(9)
    mask = Mask.from_dense(rng.random((6, 11)) < 0.4, {"seed": 1})
    text = text_of([Matrix(mask), Matrix(mask, rng.standard_normal(mask.nnz))])
    alphabet = b"\n \t%-+.eE0123456789xn\x00\xff\r"
    outcomes = set()
    for _ in range(3000):
        mutated = bytearray(text)
        for _ in range(rng.integers(1, 4)):
            place = rng.integers(len(mutated))
            kind = rng.integers(3)
            mutated[place : place + (kind != 1)] = b"" if kind == 2 else bytes([rng.choice(list(alphabet))])
        found, _ = outcome(bytes(mutated))
        outcomes.add(type(found) if isinstance(found, SaoError) else len(found))
    assert {FormatError, 2} <= outcomes <= {FormatError, MemoryLimitError, 1, 2}
