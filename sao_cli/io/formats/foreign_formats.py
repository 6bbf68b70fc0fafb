"""Files of other formats, told by their first bytes or their members: what each is, and how to get its weights out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from sao_cli.io.formats.registry import FORMATS, either

RECOGNISED_BY = 300  # bytes from the start of a file
PICKLE = (
    "a Python pickle (joblib writes them too), which is never read, since that could execute anything: nothing was "
    "executed; save the model's state_dict by torch.save, or arrays by numpy.savez"
)
_READS = f"sao reads {either([row.name for row in FORMATS if row.read])}"
_SAVEZ = "numpy.savez('model.npz', **{"
_WEIGHTS = "w.path: w.numpy() for w in keras.models.load_model(FILE).weights})"
_CHECKPOINT = "tf.train.load_checkpoint('FOLDER/variables/variables')"
_INITIALIZER = "t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(FILE).graph.initializer})"
_READER = "t.name: gguf.dequantize(t.data, t.tensor_type) for t in GGUFReader(FILE).tensors})"
_RESTORED = "numpy.savez('model.npz', **flatten_dict(msgpack_restore(BYTES), sep='.')) of flax"
_LOADTXT = "numpy.save('w.npy', numpy.loadtxt(FILE, delimiter=','))"
SAVED_MODEL = b"\x08\x01\x12"  # how TensorFlow's begins
_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TABLE = re.compile(rb"^[ \t]*%b(?:[ \t]*[,;][ \t]*%b|[ \t]+%b)+[ \t]*\r?$" % (_NUMBER, _NUMBER, _NUMBER), re.MULTILINE)
_TEXT = re.compile(rb"[\t\r\n -~]+")


class _Format(NamedTuple):
    start: bytes
    """A regular expression for its first bytes."""
    name: str
    way_out: str


_FORMATS = [
    _Format(b"GGUF", "a GGUF file", _SAVEZ + _READER),
    _Format(rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _SAVEZ + _WEIGHTS + ", or by h5py"),
    _Format(rb"MATLAB 5\.0 MAT-file", "a MATLAB file", "scipy.io.mmwrite('w.mtx', scipy.io.loadmat(FILE)['NAME'])"),
    _Format(rb"MATLAB 7\.3 MAT-file", "a MATLAB file", "numpy.save('w.npy', h5py.File(FILE)['NAME'][()].T)"),
    _Format(b"....TFL3", "a TFLite file", "get_tensor of tf.lite.Interpreter(FILE) and numpy.savez"),
    _Format(SAVED_MODEL, "a TensorFlow SavedModel", f"get_tensor of {_CHECKPOINT} and numpy.savez"),
    _Format(rb"\x08[\x02-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]", "an ONNX file", _SAVEZ + _INITIALIZER),
    _Format(rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.)", "a msgpack file, as Flax writes", _RESTORED),
    _Format(b"PAR1|ARROW1", "a Parquet or Arrow file", "numpy.save('w.npy', pandas.read_parquet(FILE).to_numpy())"),
    _Format(rb"x[\x01\x5e\x9c\xda]", "zlib data, as of joblib", "joblib.load, if you trust it, and numpy.savez"),
]  # fmt: skip
_NO_MODELS = [
    _Format(b"version https://git-lfs", "a pointer of Git LFS instead of the file", "fetch it with git lfs pull"),
    _Format(rb"(?i)\s*<(?:!doctype|html|\?xml)", "a web page instead of the file", "download it anew"),
    _Format(rb"\xfd7zXZ\0|BZh\d|\x28\xb5\x2f\xfd|7z\xbc\xaf|\x04\x22\x4d\x18", "compressed, not by gzip", "unpack it"),
    _Format(b".{257}ustar", "a tar archive", "unpack it"),
    _Format(rb"\s*[\[{]", "JSON", "name the file with the tensors (sao audit, prune, repair: or the index)"),
    _Format(rb"\x80|\(dp|\(lp|ccopy_reg\n|cnumpy|c__builtin__", PICKLE, ""),
]
_ARCHIVES = {
    "constants.pkl": ("a TorchScript archive", "torch.save(torch.jit.load(FILE).state_dict(), 'model.pt')"),
    "model.weights.h5": ("a Keras archive", _SAVEZ + _WEIGHTS),
    "serialized_exported_program.json": (
        "a torch.export archive",
        "torch.save(torch.export.load(FILE).state_dict, 'model.pt')",
    ),
    "[Content_Types].xml": ("an Office document", "numpy.savetxt and numpy.save of its table"),
}


def foreign_format(start: bytes) -> str | None:
    """What a file is that begins with `start`, RECOGNISED_BY bytes or all, and the way out; None where it is not known.

    >>> foreign_format(b"GGUF" + bytes(20))[:45]
    'this is a GGUF file; sao reads Matrix Market '
    """
    for known in _FORMATS:
        if re.match(known.start, start, re.DOTALL):
            return f"this is {known.name}; {_READS}: convert it with {known.way_out}"
    for known in _NO_MODELS:
        if re.match(known.start, start, re.DOTALL):
            return f"this is {known.name}" + (f"; {known.way_out}" if known.way_out else "")
    if _TEXT.fullmatch(start) and _TABLE.search(start):
        return f"this is a table of numbers as text (CSV); {_READS}: convert it with {_LOADTXT}"
    return None


def foreign_archive(members: Collection[str]) -> str | None:
    """What a zip archive of these members is, if not .npz and not .pt, and the way out; None where it is not known."""
    for member, (name, way_out) in _ARCHIVES.items():
        if any(own == member or own.endswith(f"/{member}") for own in members):
            return f"this is {name}; {_READS}: convert it with {way_out}"
    return None
