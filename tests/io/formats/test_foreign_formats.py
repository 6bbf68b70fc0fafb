"""Files of other programs are called by their names, with a way to get their weights out."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.io import read_weights
from sao_cli.io.checkpoints import open_checkpoint

GGUF = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + bytes(40)
HDF5 = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\4\0\x10\0" + bytes(80)
MATLAB = b"MATLAB 5.0 MAT-file, Platform: posix, Created on: Mon Jan  1 00:00:00 2024".ljust(124) + b"\0\1IM"
TFLITE = b"\x1c\0\0\0TFL3\x14\0 \0\x1c\0\x18\0" + bytes(40)
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\x9f\x01\n\x0f\n\x01x\n\x01w\x12\x01y" + bytes(60)
SAVED_MODEL = b"\x08\x01\x12\xf2\x93\x05\n\xa0\x01\x12\x1b" + bytes(60)
FLAX = b"\x81\xa6params\x81\xa7Dense_0\x82\xa4bias\xc7\x19\x01\x93\x91\x03\xa7float32\xc4\x0c" + bytes(60)


def zipped(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member in members:
            archive.writestr(member, b"content")
    return buffer.getvalue()


SCRIPT = zipped("model/data.pkl", "model/code/__torch__.py", "model/constants.pkl", "model/version")
KERAS = zipped("metadata.json", "config.json", "model.weights.h5")
CASES = {
    "gguf": (GGUF, "this is a GGUF file; sao reads", "gguf.dequantize"),
    "hdf5": (HDF5, "this is an HDF5 file; sao reads", "keras.models.load_model(FILE).weights"),
    "matlab": (MATLAB, "this is a MATLAB file; sao reads", "scipy.io.loadmat(FILE)"),
    "matlab 7.3": (MATLAB.replace(b"5.0", b"7.3"), "this is a MATLAB file; sao reads", "h5py.File(FILE)"),
    "tflite": (TFLITE, "this is a TFLite file; sao reads", "tf.lite.Interpreter(FILE)"),
    "onnx": (ONNX, "this is an ONNX file; sao reads", "onnx.load(FILE)"),
    "saved model": (SAVED_MODEL, "this is a TensorFlow SavedModel; sao reads", "tf.train.load_checkpoint"),
    "flax": (FLAX, "this is a msgpack file, as Flax writes; sao reads", "msgpack_restore"),
    "csv": (b"1,0.5,-2e-3\r\n0,1,4\r\n", "this is a table of numbers as text (CSV); sao reads", "numpy.loadtxt"),
    "csv with a heading": (b"a;b\n1.5;2\n", "this is a table of numbers as text (CSV); sao reads", "numpy.loadtxt"),
    "text": (b"1 0 1\n0 1 1\n", "this is a table of numbers as text (CSV); sao reads", "numpy.loadtxt"),
    "torchscript": (SCRIPT, "this is a TorchScript archive; sao reads", "torch.jit.load(FILE).state_dict()"),
    "keras": (KERAS, "this is a Keras archive; sao reads", "keras.models.load_model(FILE).weights"),
    "pickle": (pickle.dumps({"w": np.eye(2)}), "this is a Python pickle", "save the model's state_dict by torch.save"),
    "old pickle": (pickle.dumps({"w": 1}, protocol=0), "this is a Python pickle", "save the model's state_dict"),
    "joblib": (b"x\x9c\x01\x02\x03\x04" + bytes(30), "this is zlib data, as of joblib; sao reads", "joblib.load"),
    "xz": (b"\xfd7zXZ\0\0\4" + bytes(30), "this is compressed, not by gzip", "unpack it"),
    "tar": (b"weights.npy".ljust(257, b"\0") + b"ustar\x0000" + bytes(100), "this is a tar archive", "unpack it"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS", "git lfs pull"),
    "page": (b"<!DOCTYPE html><html><head>", "this is a web page instead of the file", "download it anew"),
    "json": (b'["a", "b", 3]', "this is JSON", "name the file with the tensors"),
}


@pytest.mark.parametrize(("content", "name", "way_out"), CASES.values(), ids=CASES)
def test_it_is_named_with_a_way_out(tmp_path, content, name, way_out):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    for reader in (read_weights, open_checkpoint, lambda path: read_weights(io.BytesIO(path.read_bytes()))):
        with pytest.raises(FormatError) as caught:
            reader(path)
        line = str(caught.value)
        assert f": {name}" in line or f"this is {name}" in line
        assert way_out in line
        assert line.isprintable()
        assert len(line) < 350


def test_a_folder_of_a_saved_model_is_named(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(SAVED_MODEL)
    with pytest.raises(FormatError, match=r"this is a TensorFlow SavedModel; sao reads .*FOLDER/variables/variables"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [b"hello world\n", b"%%MatrixMarke", b"yes\nyes\n", b"12\n", b"a,b\nc,d\n", b"\0" * 400]
)
def test_what_is_not_known_is_not_guessed(content):
    with pytest.raises(SaoError, match="at its start; expected Matrix Market text"):
        read_weights(io.BytesIO(content))


QUANTISED = "quantised (qint8): dequantise it, then save"


@pytest.mark.filterwarnings("ignore")
def test_quantised_models_say_that_they_are(tmp_path):
    torch = pytest.importorskip("torch")
    quantised = torch.quantize_per_tensor(torch.ones(4, 3), 0.1, 0, torch.qint8)
    scales = {"scale": torch.tensor(0.1), "zero_point": torch.tensor(0)}
    packed = {f"fc.{name}": value for name, value in scales.items()}
    packed |= {"fc._packed_params.dtype": torch.qint8, "fc._packed_params._packed_params": (quantised, torch.ones(4))}
    static = {"quant.scale": torch.ones(1), "quant.zero_point": torch.zeros(1), "fc.weight": quantised}
    static |= {f"fc.{name}": value for name, value in scales.items()} | {"fc.bias": torch.ones(4)}
    gptq = {"l.qweight": torch.zeros(8, 6, dtype=torch.int32), "l.qzeros": torch.zeros(1, 6, dtype=torch.int32)}
    gptq |= {"l.scales": torch.ones(1, 6), "l.g_idx": torch.zeros(8, dtype=torch.int32)}
    nf4 = {"b.weight": torch.zeros(24, 1, dtype=torch.uint8), "b.weight.absmax": torch.ones(3)}
    nf4 |= {"b.weight.quant_map": torch.ones(16), "b.weight.quant_state.bitsandbytes__nf4": torch.ones(80)}
    for tensors, expected in [
        (packed, [*["buffer of fc._packed_params._packed_params.0"] * 2, QUANTISED, "bias"]),
        (static, [*["quantised model's scale"] * 2, QUANTISED, *["buffer of fc.weight"] * 2, "bias"]),
        (gptq, ["quantised (packed in int32): dequantise it, then save", *["buffer of l.qweight"] * 3]),
        (nf4, ["quantised (uint8): dequantise it, then save", *["buffer of b.weight"] * 3]),
    ]:
        torch.save(tensors, tmp_path / "q.pt")
        with open_checkpoint(tmp_path / "q.pt") as checkpoint:
            assert [entry.reason for entry in checkpoint.entries] == expected
    torch.save(static, tmp_path / "q.pt")
    with pytest.raises(FormatError, match=r"it is quantised \(qint8\): dequantise it"):
        read_weights(tmp_path / "q.pt")
