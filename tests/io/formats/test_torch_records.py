"""torch's files whose records are not what their pickle says: refused before a byte is read from where none belongs."""

import io
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.io import read_weights
from sao_cli.io.checkpoints import open_checkpoint
from sao_cli.io.formats.torch_records import require_sound
from sao_cli.io.proportions import require_proportion

torch = pytest.importorskip("torch")

DTYPES = ["float64", "float32", "float16", "bfloat16", "bool", "uint8", "int8", "int16", "int32", "int64"]
DTYPES += ["complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"]


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def changed(content, change, compression=zipfile.ZIP_STORED):
    """The archive with each record as `change` of its name and bytes has it; None leaves it out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", compression) as target:
        for name in source.namelist():
            if (record := change(name, source.read(name))) is not None:
                target.writestr(name, record)
    return buffer.getvalue()


def pickled_as(content, change):
    return changed(content, lambda name, record: change(record) if name.endswith("data.pkl") else record)


@pytest.fixture
def refusals(tmp_path):
    """What both readers say of a file of these bytes, which must be an error of one line."""

    def read(content):
        (tmp_path / "w.pt").write_bytes(content)
        said = []
        for reader in (read_weights, open_checkpoint, lambda path: read_weights(io.BytesIO(path.read_bytes()))):
            with pytest.raises(SaoError) as caught:
                reader(tmp_path / "w.pt")
            assert str(caught.value).isprintable()
            said.append(str(caught.value))
        return said

    return read


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_record_that_is_one_byte_short_or_gone_is_refused(refusals, dtype, compression):
    tensor = torch.zeros(3, 4, dtype=torch.float32).to(getattr(torch, dtype))
    content = saved({"z": torch.ones(8, 8) * 7, "w": tensor})
    require_sound(io.BytesIO(content), "it")
    size = tensor.numel() * tensor.element_size()
    for kept in (0, size // 2, size - 1):
        short = changed(content, lambda name, it: it[:kept] if name.endswith("data/1") else it, compression)  # noqa: B023
        expected = f"its record data/1 has {kept} bytes, and the tensors in it take {size}: it is damaged"
        assert all(expected in line for line in refusals(short))
    gone = changed(content, lambda name, it: None if name.endswith("data/1") else it, compression)
    assert all("its record data/1 is missing" in line for line in refusals(gone))


def test_swapped_records_are_refused(refusals):
    def swap(name, record):
        return records[{"0": "1", "1": "0"}.get(name[-1], name[-1])] if "data/" in name and name[-1] in "01" else record

    content = saved({"a": torch.eye(3), "b": torch.ones(4, 4)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = {name[-1]: archive.read(name) for name in archive.namelist() if name[:-1].endswith("/data/")}
    assert all(
        "its record data/1 has 36 bytes, and the tensors in it take 64" in line
        for line in refusals(changed(content, swap))
    )


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((4, 5), (5, 1), 0), ((4, 4), (4, 1), 1), ((4, 4), (5, 1), 0), ((4, 4), (4, -1), 0), ((4, 4), (4, 1), -1),
     ((2**40, 2**40), (1, 1), 0), ((4, 4), (2**40, 1), 0), ((4, 4), (4, 1), 2**62)],
)  # fmt: skip
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(refusals, size, stride, offset):
    class Reaching:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})

    storage = torch.arange(16.0)._typed_storage()
    content = saved({"w": Reaching()})
    assert all("damaged" in line for line in refusals(content))


def test_one_number_that_stands_for_a_huge_matrix_is_refused(refusals):
    content = saved({"w": torch.ones(1).expand(30_000, 30_000)})
    assert all("4 bytes that would become 3600000000, more than 200-fold" in line for line in refusals(content))
    for tensor in (torch.ones(1).expand(40, 40), torch.arange(9.0).reshape(3, 3).T, torch.ones(5, 5)[1:, ::2]):
        (found,) = read_weights(io.BytesIO(saved(tensor)))
        np.testing.assert_array_equal(found.to_dense(), tensor)


def test_a_legacy_file_that_claims_more_than_it_has_is_refused(refusals):
    content = saved({"w": torch.ones(20, 20), "v": torch.eye(2)}, _use_new_zipfile_serialization=False)
    require_sound(io.BytesIO(content), "it")
    for size in (len(content) - 300, len(content) // 2, 600, 100):
        assert all("cut off" in line for line in refusals(content[:size]))
    claim = content.replace(b"M\x90\x01", b"J\xff\xff\xff\x7f")  # 400 numbers, and 2^31 - 1
    assert all("its tensors take 8589934604 bytes, and" in line for line in refusals(claim))


def short_pickle(*operations):
    return pickle.PROTO + b"\2" + b"".join(operations) + pickle.STOP


TEN_GIGABYTES = b"\x8a\x05" + (10**10).to_bytes(5, "little")
BOMBS = {
    "bytearray": (b"cbuiltins\nbytearray\n", TEN_GIGABYTES, b"\x85R"),
    "tensor": (b"ctorch\nFloatTensor\n", TEN_GIGABYTES, b"\x85R"),
    "new": (b"ctorch\nTensor\n", TEN_GIGABYTES, b"\x85\x81"),
    "codec": (b"c_codecs\nencode\n", b"X\1\0\0\0a", b"X\x08\0\0\0punycode", b"\x86R"),
}


@pytest.mark.parametrize("operations", BOMBS.values(), ids=BOMBS)
def test_a_short_pickle_that_builds_something_large_is_refused(refusals, operations):
    content = pickled_as(saved(torch.eye(2)), lambda _: short_pickle(*operations))
    assert all("its pickle is damaged" in line for line in refusals(content))


def test_lists_inside_each_other_many_times_over_are_refused(refusals):
    nested = [torch.eye(2)]
    for _ in range(7):
        nested = [nested] * 40
    content = saved(nested)
    assert len(content) < 4000
    assert all("more than 300000 things inside each other" in line for line in refusals(content))


def test_more_than_deflate_does_to_weights_is_refused(refusals):
    assert require_proportion(1000, 1 << 28, "it") is None
    with pytest.raises(FormatError, match=r"1000 bytes that would become 268435457, more than 200-fold"):
        require_proportion(1000, (1 << 28) + 1, "it")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", b"x")
        with archive.open("archive/data/0", "w") as record:
            for _ in range(300):
                record.write(bytes(1 << 20))
    assert all("more than 200-fold" in line for line in refusals(buffer.getvalue()))


def test_what_is_not_in_memory_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "w.pt").write_bytes(saved({"w": torch.ones(30, 30)}, _use_new_zipfile_serialization=False))
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="of a format that is read as a whole, needs"):
        open_checkpoint(tmp_path / "w.pt")


def test_records_that_lie_in_each_other_or_have_one_name_are_refused(refusals):
    content = saved({"w": torch.ones(4, 4)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        place = archive.getinfo("archive/data/0").header_offset
    grown = bytearray(content)
    grown[place + 28 : place + 30] = struct.pack("<H", 60_000)  # the extra field, behind which the record begins
    assert all("archive/data/0 is not where its directory has it" in line for line in refusals(bytes(grown)))
    twice = io.BytesIO(content)
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("archive/DATA/0", bytes(64))
    assert all("two of its members have one name" in line for line in refusals(twice.getvalue()))


def test_the_walk_through_a_pickle_knows_all_its_instructions():
    tensors = {"a": torch.eye(3), "b": [torch.ones(2), (1, 2.5, None, {3: torch.ones(4, dtype=torch.int8)})]}
    for protocol in (2, 3, 4, 5):
        content = saved(tensors, pickle_protocol=protocol)
        require_sound(io.BytesIO(content), "it")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = {code.name for code, _, _ in pickletools.genops(archive.read("archive/data.pkl"))}
        assert names & {"BINPUT", "MEMOIZE"}
        short = changed(content, lambda name, it: it[:3] if name.endswith("data/2") else it)
        with pytest.raises(FormatError, match=r"its record data/2 has 3 bytes, and the tensors in it take 4"):
            require_sound(io.BytesIO(short), "it")
