"""What each tensor of a checkpoint is: a matrix, a kernel, or something else, with the reason in plain words."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count

from sao_cli.base.errors import FormatError
from sao_cli.io.checkpoints.assembly import Assembly, blocks_shape, layers_of, parametrized
from sao_cli.io.formats.tensor_file import Stored, TensorFile
from sao_cli.io.output import shown
from sao_cli.io.tensors import AXES

MATRIX, KERNEL, SKIPPED = "matrix", "kernel", "skipped"
LORA = "lora"  # the form of what is the product of its two parts
UNKNOWN = "weight"  # of unknown shape
EMBEDDING = "embedding"
ALONE = "a parameter by itself with an axis of 1, as a token or positions, and no kernel; --include NAME makes it one"
_PREFIXES = ("module.", "_orig_mod.")  # of torch.nn.DataParallel, and of torch.compile

_BIAS = re.compile(r"(?:^|_)bias(?:es)?(?:_|\d*$)", re.IGNORECASE)
_NORM = re.compile(r"(?:.*_)?(?:(?:layer|batch|group|instance|rms)_?)?norm\d*|bn\d*|ln(?:_\w+|\d*)", re.IGNORECASE)
_EMBEDDING = re.compile(r"emb(?:ed|$|s$)|^w[tp]e$|^shared$|^relative_attention_bias$", re.IGNORECASE)
_PROJECTION = re.compile(r"proj|mapping|hidden", re.IGNORECASE)  # what reads embeddings is a matrix
_TOKEN = re.compile(r"(?:cls|class|dist|mask|reg(?:ister)?|query)_?tokens?$", re.IGNORECASE)
_OF_LAYERS = re.compile(r"weight|kernel|filt|^w\d*$|^\d*$", re.IGNORECASE)  # what layers call their weights
_SCALES = ("scale", "scales", "scale_inv", "absmax", "zero_point", "zeros")  # of quantised weights
_PACKED = ("qweight", "weight_packed")  # of several weights in each number
_QUANTISED = ("weight", *_PACKED, "_packed_params._packed_params.0")
_OF_QUANTISED = re.compile(r"scale|zero_point|quant_map|quant_state|g_idx|SCB|weight_(?:format|shape)")
OPTIMISER = re.compile(r"(?:optim(?:izer|iser)?s?(?:_states?|_state_dict)?)[./]", re.IGNORECASE)
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_WHOLE = {"int16", "int32", "int64", "uint16", "uint32", "uint64"}
INTEGERS = "integers"
NOT_BINARY = ", which holds other numbers than 0 and 1 and is not multiplied in"
COMPUTED = "what"  # begins the reasons of tensors that a weight is computed from, in a way that the file does not tell
_REAL = {"float64", "float32", "float16", "bfloat16", "bool"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a checkpoint, or the weight that several make.

    `name` is as the file has it, raw: show it through io.output.shown. `dtype` is torch's name ("float32", "bfloat16",
    "int8"), and `bytes` what it takes in the file. `kind` is "matrix" (2 axes), "kernel" (3 to 5), or "skipped", where
    `reason` says in plain words what it is or why it can't be read. `parts` are the stored tensors, and `form` is how
    they make it, empty where that is not known.

    `unread` is what a skipped tensor would be if it could be read, "matrix", "kernel", or "weight" where not even its
    shape is known; None for what is no weight. `is_lost` says that the file is damaged where it should be.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    reason: str | None
    bytes: int
    parts: tuple[str, ...] = field(default=(), repr=False)
    form: str = field(default="plain", repr=False)
    unread: str | None = field(default=None, repr=False)
    is_lost: bool = field(default=False, repr=False)

    @property
    def numbers(self) -> int | None:
        """How many numbers it holds; None where its shape is not known."""
        return None if not self.parts or (self.is_lost and not self.shape) else math.prod(self.shape)

    @property
    def masked_by(self) -> str | None:
        """The tensor, as stored, that is multiplied into it and stays beside it."""
        return self.parts[1] if self.form == "masked" else None


def entries_of(file: TensorFile) -> list[Entry]:
    """An Entry for each weight of `file` in its order, and at the end one for each group that lies beside them.

    A common prefix "module." or "_orig_mod." is taken off the names. O(tensors).
    """
    plain = {name: tensor for name, tensor in file.stored.items() if not OPTIMISER.match(name)}
    prefix = common_prefix(plain)
    stored = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    layers = {part: layer for layer in _layers(file, stored, prefix) for part in layer.parts}
    done: set[str] = set()
    entries = []
    for name, tensor in stored.items():
        layer = layers.get(name)
        if layer is None:
            told = _kind(name, tensor, stored)
            parts = ((prefix + name,), "plain")
            entries.append(
                Entry(
                    name,
                    tensor.shape,
                    tensor.dtype,
                    *told[:2],
                    tensor.bytes,
                    *parts,
                    told[2],
                    tensor.problem is not None,
                )
            )
        elif layer.name not in done:
            done.add(layer.name)
            entries.append(_of_layer(layer, prefix, stored))
    return with_own_names(entries) + _beside(file, len(plain))


def _of_layer(layer: Assembly, prefix: str, stored: Mapping[str, Stored]) -> Entry:
    tensors = [stored[part] for part in layer.parts]
    problem = next((tensor.problem for tensor in tensors if tensor.problem), None) or layer.problem
    size = sum(tensor.bytes for tensor in tensors)
    kind, reason, unread = _kind(layer.name, Stored(layer.shape, layer.dtype, size, problem), stored)
    parts = tuple(prefix + part for part in layer.parts)
    form = "" if layer.problem else layer.form
    return Entry(layer.name, layer.shape, layer.dtype, kind, reason, size, parts, form, unread)


def _layers(file: TensorFile, stored: Mapping[str, Stored], prefix: str) -> list[Assembly]:
    """Those of `stored`, of which a mask beside its weight is one only if it holds zeros and ones."""
    found = []
    for layer in layers_of(stored):
        problem = _of_mask(file, prefix + layer.parts[1]) if layer.form == "masked" else ""
        if problem is not None:
            found.append(layer._replace(problem=problem) if problem else layer)
    return found


def _of_mask(file: TensorFile, name: str) -> str | None:
    """What is wrong with a mask that is to be multiplied in, "" if nothing; None for one with other numbers."""
    if file.stored[name].dtype == "bool":
        return ""
    try:
        mask = file.read(name)
    except FormatError as error:
        return f"its mask can't be read: {error}"
    return "" if ((mask == 0) | (mask == 1)).all() else None


def _beside(file: TensorFile, plain: int) -> list[Entry]:
    rows = [Entry(part.name, (), "", SKIPPED, part.reason, part.bytes) for part in file.beside]
    if left := len(file.stored) - plain:
        size = sum(tensor.bytes for name, tensor in file.stored.items() if OPTIMISER.match(name))
        reason = f"optimizer state ({left} {'tensor' if left == 1 else 'tensors'})"
        rows.append(Entry("optimizer", (), "", SKIPPED, reason, size))
    return rows


def _kind(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> tuple[str, str | None, str | None]:
    """An Entry's kind, reason and unread."""
    named = _by_name(name, tensor, stored)
    if tensor.problem is not None:
        return SKIPPED, tensor.problem, None if named else _by_axes(tensor)
    if named is not None:
        told = parametrized(name)
        dense = blocks_shape(told[0], tensor.shape, stored) if told else None
        return SKIPPED, named, _by_axes(tensor, dense) if named.startswith(COMPUTED) else None
    if (reason := _by_dtype(tensor)) is not None:
        if reason == INTEGERS and name.endswith(_PACKED):
            reason = f"quantised (packed in {tensor.dtype}): dequantise it, then save"
        is_weight = name.endswith("weight") and not reason.startswith(INTEGERS)
        return SKIPPED, reason, _by_axes(tensor) if is_weight else None
    if len(tensor.shape) > max(AXES):
        return SKIPPED, f"{len(tensor.shape)} axes; a weight has 2 to 5", None
    return _by_axes(tensor) or SKIPPED, None, None


def _by_axes(tensor: Stored, dense: tuple[int, ...] | None = None) -> str | None:
    axes = len(dense or tensor.shape)
    if not axes and tensor.problem is not None:
        return UNKNOWN
    return (MATRIX if axes == 2 else KERNEL) if axes in AXES else None


def _by_name(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> str | None:
    """Why a tensor is no weight, as its name and neighbours tell; None where they don't."""
    path, dot, last = name.rpartition(".")
    if 0 in tensor.shape:
        return "empty"
    if not tensor.shape and tensor.problem is not None:
        tensor = tensor._replace(shape=(1, 1))  # which may be a weight's
    if f"{path}{dot}running_mean" in stored:
        return "norm"
    if parametrized(name) and not _BIAS.search(last):
        return _of_parametrization(name, tensor, stored)
    reason = _by_owner(name, tensor, stored) or _by_words(path.rpartition(".")[2], last, len(tensor.shape))
    if reason in ("scalar", "1-D"):
        reason = _by_quantised(name, stored) or reason
    bias = stored.get(f"{path}.bias")
    is_linear = reason == EMBEDDING and last == "weight" and bias is not None and bias.shape == tensor.shape[:1]
    is_kernel = bias is not None and bias.shape == tensor.shape[:1]
    if reason is None and not is_kernel and _is_alone(last, tensor.shape):
        return ALONE
    return None if is_linear else reason


def _is_alone(last: str, shape: tuple[int, ...]) -> bool:
    """Whether a parameter has a batch's axis of 1 first (or second, as of a sequence), and no name of a layer's weight.

    A Conv1d kernel (c_out, c_in, k) has 3 axes as well, and its name is its layer's: "weight".
    """
    ones = shape[:2] if len(shape) == 3 else shape[:1]
    return len(shape) in AXES and len(shape) > 2 and 1 in ones and _OF_LAYERS.search(last) is None


@lru_cache(maxsize=4096)
def _by_words(module: str, last: str, axes: int) -> str | None:
    """The same, as the last part of the name and the one before it tell."""
    if last in _RUNNING:
        return "norm"
    if _BIAS.search(last):
        return "bias"
    if _NORM.fullmatch(module) and (axes == 1 or last == "weight"):
        return "norm"
    if axes < 2:
        return "1-D" if axes else "scalar"
    return EMBEDDING if _is_embedding(module, last, axes) else None


def _by_dtype(tensor: Stored) -> str | None:
    dtype = tensor.dtype
    if dtype in _REAL:
        return None
    if dtype in _WHOLE:
        return INTEGERS
    if dtype.startswith("complex"):
        return "complex numbers"
    if dtype.startswith(("int", "uint", "qint", "quint", "float8", "float4")):
        return f"quantised ({dtype}): dequantise it, then save"
    return f"no real numbers ({dtype})"


def _is_embedding(module: str, last: str, axes: int) -> bool:
    if last != "weight":  # a parameter by itself, such as pos_embed and cls_token
        return bool(_EMBEDDING.search(last) or _TOKEN.search(last)) and not _PROJECTION.search(last)
    return axes == 2 and bool(_EMBEDDING.search(module)) and not _PROJECTION.search(module)


def _of_parametrization(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> str:
    told = parametrized(name)
    assert told is not None
    whole, part = told
    if part.startswith("original") and len(tensor.shape) > 1:
        blocks = "the blocks of " if blocks_shape(whole, tensor.shape, stored) else ""
        return f"{COMPUTED} a parametrization computes {blocks}{shown(whole)} from; remove_parametrizations, then save"
    return f"buffer of {shown(whole)}"


def _by_owner(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> str | None:
    """ "mask of NAME", "buffer of NAME" or None: whose tensor this is, where its name says so and that one is there."""
    if name.endswith(("_mask", ".mask")):
        whole = name[:-5]
        for other in (whole, f"{whole}.weight", f"{whole}_orig"):
            if other in stored and stored[other].shape == tensor.shape:
                return f"mask of {shown(other)}" + ("" if other.endswith("_orig") else NOT_BINARY)
    if name.endswith(("_u", "_v")) and f"{name[:-2]}_orig" in stored:
        return f"buffer of {shown(name[:-2])}"
    if name.endswith("_orig") and f"{name[:-5]}_u" in stored:
        return f"{COMPUTED} spectral_norm computes {shown(name[:-5])} from; remove_spectral_norm, then save"
    if name.endswith(_SCALES):
        path = name.rpartition(".")[0]
        for other in (path, *(f"{path}.{one}" for one in _QUANTISED)):
            if other in stored and _by_dtype(stored[other]) is not None:
                return f"buffer of {shown(other)}"
    return None


def as_weight(entry: Entry, patterns: Sequence[str]) -> Entry:
    """An embedding that a pattern names, as the weight that it is then; any other entry as it is.

    So is what stands alone with an axis of 1, where it is the pattern. A pattern names an embedding that is the whole
    name, or has the word in it for which the tensor is taken for an embedding:
    "*.time_embedding.*" does, and "*" does not.
    """
    by_pattern = entry.reason == EMBEDDING and any(_names(pattern, entry.name) for pattern in patterns)
    if not by_pattern and (entry.reason != ALONE or entry.name not in patterns):
        return entry
    kind = MATRIX if len(entry.shape) == 2 else KERNEL
    return replace(entry, kind=kind, reason=None) if len(entry.shape) in AXES else entry


def _names(pattern: str, name: str) -> bool:
    words = re.split(r"[.*?\[\]]", pattern)
    told = pattern == name or any(_EMBEDDING.search(word) or _TOKEN.search(word) for word in words)
    return told and fnmatch.fnmatchcase(name, pattern)


def _by_quantised(name: str, stored: Mapping[str, Stored]) -> str | None:
    """What a scalar or vector is beside a quantised weight, or in a model that is quantised; None for all others."""
    if name.endswith("_packed_params.1"):
        return "bias"
    if not _OF_QUANTISED.search(name):
        return None
    path = name.rpartition(".")[0]
    for other in (path.removesuffix(".quant_state"), *(f"{path}.{one}" for one in _QUANTISED)):
        if other in stored and _by_dtype(stored[other]) is not None:
            return f"buffer of {shown(other)}"
    return "quantised model's scale" if {f"{path}.scale", f"{path}.zero_point"} <= stored.keys() else None


def common_prefix(names: Collection[str]) -> str:
    """What all names begin with: "module." or "_orig_mod.", or several of them."""
    cut, first = 0, next(iter(names), "")
    while prefix := next((one for one in _PREFIXES if first.startswith(one, cut)), ""):
        if not all(name.startswith(prefix, cut) and len(name) > cut + len(prefix) for name in names):
            break
        cut += len(prefix)
    return first[:cut]


def with_own_names(entries: list[Entry]) -> list[Entry]:
    """The entries with no name twice, which only tensors made of several can have."""
    if len({entry.name for entry in entries}) == len(entries):
        return entries
    seen: set[str] = set()
    unique = []
    for entry in entries:
        name = entry.name
        if name in seen:
            name = next(other for number in count(2) if (other := f"{entry.name} ({number})") not in seen)
        seen.add(name)
        unique.append(entry if name == entry.name else replace(entry, name=name))
    return unique
