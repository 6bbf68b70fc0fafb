"""Sparse layouts of torch, scipy and pydata's sparse: every entry where it belongs, and no index believed unseen."""

import io
import warnings

import numpy as np
import pytest

from sao_cli.base.errors import FormatError
from sao_cli.io import read_matrices, read_weights
from sao_cli.io.checkpoints import open_checkpoint

DENSE = np.zeros((4, 6), np.float32)
DENSE[[0, 1, 3, 3], [5, 0, 2, 3]] = [1, 2, 3, 4]
torch = pytest.importorskip("torch")


def both(path):
    """The matrix that the plain reader and the checkpoint reader find, which must be the same."""
    (found,) = read_matrices(path)
    with open_checkpoint(path) as checkpoint:
        (entry,) = checkpoint.entries
        np.testing.assert_array_equal(checkpoint.read(entry), found.to_dense())
    return found


def quiet(make, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that sparse tensors are in beta, and not checked by it
        return make(*arguments, **options, check_invariants=False)


LAYOUTS = {
    "coo": lambda dense: dense.to_sparse(),
    "csr": lambda dense: dense.to_sparse_csr(),
    "csc": lambda dense: dense.to_sparse_csc(),
    "bsr": lambda dense: dense.to_sparse_bsr((2, 3)),
    "bsc": lambda dense: dense.to_sparse_bsc((2, 2)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_torch_reads_as_the_dense_tensor(tmp_path, layout, dtype):
    dense = torch.from_numpy(DENSE).to(dtype)
    torch.save({"w": LAYOUTS[layout](dense.float()).to(dtype)}, tmp_path / "w.pt")
    found = both(tmp_path / "w.pt")
    np.testing.assert_array_equal(found.to_dense(), dense.numpy() if dtype != torch.bfloat16 else DENSE)
    assert found.dtype == ("float64" if dtype == torch.bool else str(dtype).removeprefix("torch."))


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
def test_entries_of_one_place_are_summed_whatever_the_file_says_of_them(tmp_path):
    places = torch.tensor([[0, 0, 1], [2, 2, 0]])
    values = torch.tensor([1.0, 2.0, 4.0])
    for coalesced in (False, True):
        twice = quiet(torch.sparse_coo_tensor, places, values, (2, 3), is_coalesced=coalesced)
        torch.save({"w": twice}, tmp_path / "w.pt")
        np.testing.assert_array_equal(both(tmp_path / "w.pt").to_dense(), [[0, 0, 3], [4, 0, 0]])
    twice = quiet(torch.sparse_csr_tensor, torch.tensor([0, 2, 3]), torch.tensor([2, 2, 0]), values, (2, 3))
    torch.save({"w": twice}, tmp_path / "w.pt")
    np.testing.assert_array_equal(both(tmp_path / "w.pt").to_dense(), [[0, 0, 3], [4, 0, 0]])


FAR = 10**9
COO = [([0, FAR], [0, 1]), ([0, 1], [0, FAR]), ([0, 4], [0, 0]), ([0, 0], [0, -1]), ([-1, 0], [0, 0])]
COMPRESSED = [  # pointers of four rows, and columns
    ([0, FAR, FAR, 2, 2], [0, 1]),
    ([0, 1, 2, 2, 2], [0, FAR]),
    ([0, 1, 2, 2, 2], [0, -1]),
    ([0, 1, 2, 2, 2], [4, 0]),
    ([0, 2, 1, 2, 2], [0, 1]),
    ([0, 3, 3, 2, 2], [0, 1]),
    ([1, 1, 2, 2, 2], [0, 1]),
    ([0, 1, 1, 1, 1], [0, 1]),
    ([0, 1, 1, 1, 3], [0, 1]),
    ([0, -(2**62), 2**62, 2, 2], [0, 1]),
    ([-(2**63), 2**63 - 1, 0, 2, 2], [0, 1]),
]


@pytest.mark.parametrize("blocks", [None, (2, 3)])
@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc])
@pytest.mark.parametrize(("pointers", "minors"), COMPRESSED)
def test_indices_out_of_range_are_refused_and_never_followed(tmp_path, layout, pointers, minors, blocks):
    blocked = layout in (torch.sparse_bsr, torch.sparse_bsc)
    if blocked != (blocks is not None):
        return
    a, b = blocks or (1, 1)
    values = torch.ones(2, a, b) if blocked else torch.ones(2)
    tensor = quiet(
        torch.sparse_compressed_tensor, torch.tensor(pointers), torch.tensor(minors), values, (4 * a, 4 * b),
        layout=layout,
    )  # fmt: skip
    torch.save({"good": torch.eye(3), "w": tensor}, tmp_path / "w.pt")
    for reader in (lambda path: read_weights(path, tensor="good"), read_weights, open_checkpoint):
        with pytest.raises(
            FormatError, match=r"tensor w is damaged: (its indptr does not ascend|an index -?\d+ along)"
        ):
            reader(tmp_path / "w.pt")


@pytest.mark.parametrize(("rows", "columns"), COO)
@pytest.mark.parametrize("coalesced", [False, True])
def test_places_outside_the_shape_are_refused(tmp_path, rows, columns, coalesced):
    places = torch.tensor([rows, columns])
    tensor = quiet(torch.sparse_coo_tensor, places, torch.ones(2), (4, 4), is_coalesced=coalesced)
    torch.save([tensor], tmp_path / "w.pt")
    for reader in (read_weights, open_checkpoint):
        with pytest.raises(FormatError, match=r"tensor 0 is damaged: an index -?\d+ along an axis of 4"):
            reader(tmp_path / "w.pt")


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("kind", ["csr", "csc", "bsr", "coo"])
@pytest.mark.parametrize(("pointers", "minors"), COMPRESSED)
def test_the_same_of_scipys(tmp_path, kind, pointers, minors, blocked):
    if blocked != (kind == "bsr"):
        return
    arrays = {"format": np.array(kind.encode()), "shape": np.array([8, 12] if blocked else [4, 4])}
    arrays |= {"data": np.ones((2, 2, 3)) if blocked else np.ones(2)}
    if kind == "coo":
        rows, columns = COO[COMPRESSED.index((pointers, minors)) % len(COO)]
        arrays |= {"row": np.array(rows), "col": np.array(columns)}
    else:
        arrays |= {"indptr": np.array(pointers), "indices": np.array(minors)}
    np.savez(tmp_path / "w.npz", **arrays)
    for reader in (read_weights, open_checkpoint):
        with pytest.raises(FormatError, match=r"its indptr does not ascend|an index -?\d+ along an axis"):
            reader(tmp_path / "w.npz")


def gcxs(dense, first):
    """What sparse.GCXS.from_numpy(dense, compressed_axes=first) keeps, by way of scipy."""
    import scipy.sparse

    rest = [axis for axis in range(dense.ndim) if axis not in first]
    flat = dense.transpose(*first, *rest).reshape(int(np.prod([dense.shape[axis] for axis in first])), -1)
    csr = scipy.sparse.csr_array(flat)
    kept = {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "compressed_axes": np.array(first)}
    return kept | {"shape": np.array(dense.shape)}


KERNEL = np.where(np.arange(120).reshape(4, 5, 3, 2) % 7 < 2, np.arange(120.0).reshape(4, 5, 3, 2) + 1, 0)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("filled", [None, 0.0])
@pytest.mark.parametrize("layout", ["coo", "gcxs"])
def test_pydatas_sparse_arrays_read_as_the_dense_ones(tmp_path, layout, filled, named):
    more = {} if filled is None else {"fill_value": np.float64(filled)}
    more |= {"format": np.array(layout)} if named else {}
    for dense, axes in ((DENSE, [(0,), (1,)]), (KERNEL, [(0,), (1, 2), (0, 3), (0, 1, 2)])):
        for first in axes if layout == "gcxs" else axes[:1]:
            coo = {"coords": np.array(np.nonzero(dense)), "data": dense[dense != 0], "shape": np.array(dense.shape)}
            np.savez(tmp_path / "w.npz", **(coo if layout == "coo" else gcxs(dense, first)), **more)
            (found,) = read_weights(tmp_path / "w.npz")
            np.testing.assert_array_equal(found.to_dense(), dense)
            with open_checkpoint(tmp_path / "w.npz") as checkpoint:
                (entry,) = checkpoint.entries
                np.testing.assert_array_equal(checkpoint.read(entry), dense)
            assert (entry.name, entry.dtype, entry.kind) == ("w", str(dense.dtype), found_kind(dense))


def found_kind(dense):
    return "matrix" if dense.ndim == 2 else "kernel"


@pytest.mark.parametrize("named", [False, True])
def test_a_fill_value_other_than_zero_is_refused(tmp_path, named):
    arrays = {
        "coords": np.zeros((2, 0), int),
        "data": np.zeros(0),
        "shape": np.array([3, 3]),
        "fill_value": np.float64(1),
    }
    np.savez(tmp_path / "w.npz", **arrays, **({"format": np.array("coo")} if named else {}))
    for reader in (read_weights, open_checkpoint):
        with pytest.raises(
            FormatError, match=r"its fill value is 1\.0, which every entry not listed has; save it dense"
        ):
            reader(tmp_path / "w.npz")


def test_a_precision_that_numpy_lacks_is_read_from_the_provenance_in_checkpoints_too(tmp_path):
    from sao_cli.data.kernel import Kernel
    from sao_cli.data.mask import Mask
    from sao_cli.data.matrix import Matrix
    from sao_cli.data.precision import PRECISIONS, rounded
    from sao_cli.io import write_weights

    for dtype in PRECISIONS:
        values = rounded(np.array([1 / 3, -2.5]), dtype)
        kernel = Kernel.from_dense(rounded(np.full((2, 3, 1, 1), 1 / 3), dtype), dtype=dtype)
        for weight in (Matrix(Mask.from_entries([0, 1], [1, 2], (2, 3)), values, dtype), kernel):
            write_weights(weight, tmp_path / "w.npz")
            with open_checkpoint(tmp_path / "w.npz") as checkpoint:
                (entry,) = checkpoint.entries
                assert entry.dtype == dtype
                np.testing.assert_array_equal(checkpoint.read(entry), weight.to_dense())


def test_diagonals_as_scipy_has_them(tmp_path):
    import scipy.sparse

    rng = np.random.default_rng(1)
    for shape, offsets, length in [
        ((4, 6), [0, 3, -2], 6),
        ((6, 4), [-5, 1], 4),
        ((3, 3), [2**30, 0], 3),
        ((2, 5), [1], 9),
    ]:
        data = rng.standard_normal((len(offsets), length))
        matrix = scipy.sparse.dia_array((data, np.array(offsets)), shape=shape)
        buffer = io.BytesIO()
        scipy.sparse.save_npz(buffer, matrix)
        (found,) = read_matrices(io.BytesIO(buffer.getvalue()))
        np.testing.assert_array_equal(found.to_dense(), matrix.toarray())
