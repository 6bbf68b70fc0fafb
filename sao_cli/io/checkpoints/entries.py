"""What each tensor of a checkpoint is: a matrix, a kernel, or something else, with the reason in plain words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count

from sao_cli.io.checkpoints.files import Stored, TensorFile
from sao_cli.io.checkpoints.layers import Layer, layers_of
from sao_cli.io.files import shown

MATRIX, KERNEL, SKIPPED = "matrix", "kernel", "skipped"
_PREFIXES = ("module.", "_orig_mod.")  # of torch.nn.DataParallel, and of torch.compile

_BIAS = re.compile(r"(?:^|_)bias(?:es)?(?:_|\d*$)", re.IGNORECASE)
_NORM = re.compile(r"(?:.*_)?(?:(?:layer|batch|group|instance|rms)_?)?norm\d*|bn\d*|ln(?:_\w+|\d*)", re.IGNORECASE)
_EMBEDDING = re.compile(r"emb(?:ed|$|s$)|^w[tp]e$|^shared$|^relative_attention_bias$", re.IGNORECASE)
_PROJECTION = re.compile(r"proj|mapping|hidden", re.IGNORECASE)  # what reads embeddings is a matrix
_TOKEN = re.compile(r"(?:cls|class|dist|mask|reg(?:ister)?|query)_?tokens?$", re.IGNORECASE)
_SCALES = ("scale", "scales", "scale_inv", "absmax", "zero_point", "zeros")  # of quantised weights
OPTIMISER = re.compile(r"(?:optim(?:izer|iser)?s?(?:_states?|_state_dict)?)[./]", re.IGNORECASE)
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_WHOLE = {"int16", "int32", "int64", "uint16", "uint32", "uint64"}
_REAL = {"float64", "float32", "float16", "bfloat16", "bool"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a checkpoint, or the weight that several make.

    `name` is as the file has it, raw: show it through io.files.shown. `dtype` is torch's name ("float32", "bfloat16",
    "int8"), and `bytes` what it takes in the file. `kind` is "matrix" (2 axes), "kernel" (3 to 5), or "skipped", where
    `reason` says in plain words what it is or why it can't be read. `parts` are the stored tensors, and `form` is how
    they make it, empty where that is not known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    reason: str | None
    bytes: int
    parts: tuple[str, ...] = field(default=(), repr=False)
    form: str = field(default="plain", repr=False)


def entries_of(file: TensorFile) -> list[Entry]:
    """An Entry for each weight of `file` in its order, and at the end one for each group that lies beside them.

    A common prefix "module." or "_orig_mod." is taken off the names. O(tensors).
    """
    plain = {name: tensor for name, tensor in file.stored.items() if not OPTIMISER.match(name)}
    prefix = common_prefix(plain)
    stored = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    layers = {part: layer for layer in layers_of(stored) for part in layer.parts}
    done: set[str] = set()
    entries = []
    for name, tensor in stored.items():
        layer = layers.get(name)
        if layer is None:
            kind, reason = _kind(name, tensor, stored)
            entries.append(Entry(name, tensor.shape, tensor.dtype, kind, reason, tensor.bytes, (prefix + name,)))
        elif layer.name not in done:
            done.add(layer.name)
            entries.append(_of_layer(layer, prefix, stored))
    return _with_own_names(entries) + _beside(file, len(plain))


def _of_layer(layer: Layer, prefix: str, stored: Mapping[str, Stored]) -> Entry:
    tensors = [stored[part] for part in layer.parts]
    problem = next((tensor.problem for tensor in tensors if tensor.problem), None) or layer.problem
    size = sum(tensor.bytes for tensor in tensors)
    kind, reason = _kind(layer.name, Stored(layer.shape, layer.dtype, size, problem), stored)
    parts = tuple(prefix + part for part in layer.parts)
    return Entry(layer.name, layer.shape, layer.dtype, kind, reason, size, parts, "" if layer.problem else layer.form)


def _beside(file: TensorFile, plain: int) -> list[Entry]:
    rows = [Entry(part.name, (), "", SKIPPED, part.reason, part.bytes) for part in file.beside]
    if left := len(file.stored) - plain:
        size = sum(tensor.bytes for name, tensor in file.stored.items() if OPTIMISER.match(name))
        reason = f"optimizer state ({left} {'tensor' if left == 1 else 'tensors'})"
        rows.append(Entry("optimizer", (), "", SKIPPED, reason, size))
    return rows


def _kind(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> tuple[str, str | None]:
    reason = tensor.problem or _by_name(name, tensor, stored) or _by_dtype(tensor)
    if reason is not None:
        return SKIPPED, reason
    axes = len(tensor.shape)
    if axes == 2:
        return MATRIX, None
    return (KERNEL, None) if axes <= 5 else (SKIPPED, f"{axes} axes; a weight has 2 to 5")


def _by_name(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> str | None:
    """Why a tensor is no weight, as its name and neighbours tell; None where they don't."""
    path, dot, last = name.rpartition(".")
    if 0 in tensor.shape:
        return "empty"
    if f"{path}{dot}running_mean" in stored:
        return "norm"
    if ".parametrizations." in name and not _BIAS.search(last):
        return _of_parametrization(name, tensor)
    return _by_owner(name, tensor, stored) or _by_words(path.rpartition(".")[2], last, len(tensor.shape))


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
    return "embedding" if _is_embedding(module, last, axes) else None


def _by_dtype(tensor: Stored) -> str | None:
    dtype = tensor.dtype
    if dtype in _REAL:
        return None
    if dtype in _WHOLE:
        return "integers"
    if dtype.startswith("complex"):
        return "complex numbers"
    if dtype.startswith(("int", "uint", "qint", "quint", "float8", "float4")):
        return f"quantised ({dtype})"
    return f"no real numbers ({dtype})"


def _is_embedding(module: str, last: str, axes: int) -> bool:
    if last != "weight":  # a parameter by itself, such as pos_embed and cls_token
        return bool(_EMBEDDING.search(last) or _TOKEN.search(last)) and not _PROJECTION.search(last)
    return axes == 2 and bool(_EMBEDDING.search(module)) and not _PROJECTION.search(module)


def _of_parametrization(name: str, tensor: Stored) -> str:
    module, _, rest = name.partition(".parametrizations.")
    parameter, _, part = rest.partition(".")
    whole = shown(f"{module}.{parameter}")
    if part.startswith("original") and len(tensor.shape) > 1:
        return f"what a parametrization computes {whole} from; remove_parametrizations, then save"
    return f"buffer of {whole}"


def _by_owner(name: str, tensor: Stored, stored: Mapping[str, Stored]) -> str | None:
    """ "mask of NAME", "buffer of NAME" or None: whose tensor this is, where its name says so and that one is there."""
    if name.endswith(("_mask", ".mask")):
        whole = name[:-5]
        for other in (whole, f"{whole}.weight", f"{whole}_orig"):
            if other in stored and stored[other].shape == tensor.shape:
                return f"mask of {shown(other)}"
    if name.endswith(("_u", "_v")) and f"{name[:-2]}_orig" in stored:
        return f"buffer of {shown(name[:-2])}"
    if name.endswith("_orig") and f"{name[:-5]}_u" in stored:
        return f"what spectral_norm computes {shown(name[:-5])} from; remove_spectral_norm, then save"
    if name.endswith(_SCALES):
        path = name.rpartition(".")[0]
        for other in (path, *(f"{path}.{one}" for one in ("weight", "qweight", "weight_packed"))):
            if other in stored and _by_dtype(stored[other]) is not None:
                return f"buffer of {shown(other)}"
    return None


def common_prefix(names: Collection[str]) -> str:
    """What all names begin with: "module." or "_orig_mod.", or several of them."""
    cut, first = 0, next(iter(names), "")
    while prefix := next((one for one in _PREFIXES if first.startswith(one, cut)), ""):
        if not all(name.startswith(prefix, cut) and len(name) > cut + len(prefix) for name in names):
            break
        cut += len(prefix)
    return first[:cut]


def _with_own_names(entries: list[Entry]) -> list[Entry]:
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
