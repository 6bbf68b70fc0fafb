"""For each operation of a record a positive stand-in, whose zeros and derivatives tell what depends on what.

A stand-in P is multilinear in its tensors, and not negative where they are not. On zero bits nz = P(nz) > 0 tells which
numbers of the answer can be other than 0, its derivative which depend on the network's input, and the derivative's
transpose which numbers an answer reads. Indices and conditions stay what they were.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sao_cli.nets.tracing.calls import Call, Stand
from sao_cli.nets.tracing.norm_stand_ins import NORM_STANDS, statistic
from sao_cli.nets.tracing.recording import FACTORIES, SOFTMAX, Operation, Recorded


def stand_in(operation: Operation, norms: str, values: Sequence[Recorded]) -> Stand | None:
    """The operation's stand-in, None where it is not known; `norms` is "unit" or "strict"."""
    name = operation.name
    if name == "as_strided":
        return first if _is_in_place(operation, values) else None
    if name in STATISTICS:
        return statistic if norms == "unit" else STATISTICS[name]
    if name in NORM_STANDS:
        return functools.partial(NORM_STANDS[name], strict=norms == "strict")
    if name in STANDS:
        return STANDS[name]
    if name in UNARY or torch.Tag.pointwise in operation.function.tags:
        return unary if len(operation.operands) == 1 else None
    return None


def _is_in_place(view: Operation, values: Sequence[Recorded]) -> bool:
    """Whether each number of a view of given strides stands where it stood, as when pooling names an image's layout."""
    made = view.outputs[0]
    before, after = values[view.operands[0]], values[-1 if made is None else made]
    sides = [axis for axis, size in enumerate(before.shape) if size > 1]
    return before.shape == after.shape and all(
        before.layout[n] == after.layout[n] for n in (0, *(s + 1 for s in sides))
    )


def settled(operation: Operation, stand: Stand, values: Sequence[Recorded]) -> Stand:
    """The stand-in as it is for this call: what a function of one number is, that is `unary`, is looked at once."""
    return _form_of(operation, values, values[operation.operands[0]].device) if stand is unary else stand


def is_comparison_of(where: Operation, makers: Mapping[int, Operation]) -> bool:
    """Whether a `where` chooses the larger, or smaller, of the two that its condition compares."""
    condition = where.operand("condition")
    maker = makers.get(-1 if condition is None else condition)
    compared = maker is not None and maker.name in ("ge", "gt", "le", "lt")
    return compared and maker is not None and set(maker.operands) == {where.operand("self"), where.operand("other")}


def is_mean_of(difference: Operation, makers: Mapping[int, Operation]) -> bool:
    """Whether what is subtracted is a mean of that which it is subtracted from."""
    mean = difference.operand("other")
    maker = makers.get(-1 if mean is None else mean)
    return maker is not None and maker.name == "mean" and maker.operand("self") == difference.operand("self")


def unknown(call: Call) -> tuple[Tensor, ...]:
    """Every number of each answer reads every number of each operand."""
    total = sum((tensor.sum() for tensor in call.tensors.values()), torch.ones((), device=call.device))
    shapes = [None if number is None else call.values[number].shape for number in call.operation.outputs]
    return tuple(total if shape is None else total.expand(shape) for shape in shapes)


def _itself(call: Call) -> Any:
    """What is linear in each of its tensors; factors count as 0 or 1."""
    given = {key: value for key, value in call.operation.kwargs.items() if key not in _FORMATS}
    given |= {key: float(given[key] != 0) for key in ("alpha", "beta") if key in given}
    return copying(call.operation)(*call.filled(call.operation.args), **call.filled(given))


_FORMATS = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking")


def copying(operation: Operation) -> Any:
    """The function, or the twin that does not write in place."""
    if not operation.function._schema.is_mutable:
        return operation.function
    packet = getattr(torch.ops.aten, operation.name)
    wanted = [str(argument.type) for argument in operation.function._schema.arguments]
    twins = (getattr(packet, overload) for overload in packet.overloads())
    return next(one for one in twins if [str(argument.type) for argument in one._schema.arguments] == wanted)


def _independent(call: Call) -> Tensor:
    """What reads its operand for its shape alone."""
    return torch.ones(call.shape, device=call.device)


def first(call: Call) -> Tensor:
    """What is another form of its first operand, number by number."""
    return next(iter(call.tensors.values()))


def _reshaped(call: Call) -> Tensor:
    """The same numbers in another shape; bits need not lie in memory as what they are of."""
    return first(call).reshape(call.shape)


def _padded(call: Call) -> Tensor:
    padding = list(call["pad"])
    return F.pad(call["self"], padding, value=float(call["value"] != 0))


_PROBES = (0.0, 1.0, -1.0, 0.5, 2.0, -3.7, 11.0)


def unary(call: Call) -> Tensor:
    """x for f(x) with f(0) = 0, x + 1 for others; a function that has one value is a constant."""
    answer: Tensor = _form_of(call.operation, call.values, call.device)(call)
    return answer


def _form_of(operation: Operation, values: Sequence[Recorded], device: torch.device) -> Stand:
    probed = Call(operation, values, {operation.operands[0]: torch.tensor(_PROBES, device=device)})
    made = copying(operation)(*probed.filled(operation.args), **probed.filled(operation.kwargs))
    answers = made[0] if isinstance(made, tuple) else made
    if bool((answers == answers[0]).all()):
        return functools.partial(_filled, number=float(answers[0] != 0))
    return first if answers[0] == 0 else _shifted


def _filled(call: Call, number: float) -> Tensor:
    return torch.full_like(first(call), number)


def _shifted(call: Call) -> Tensor:
    return first(call) + 1


def summed(call: Call) -> Tensor:
    """a + b, for sums, differences and the larger or smaller of two: that equals cancel is not seen."""
    return call.tensor("self") + call.tensor("other")


def _product(call: Call) -> Tensor:
    return call.tensor("self") * call.tensor("other")


def _quotient(call: Call) -> Tensor:
    return call.tensor("self") * (call.tensor("other") + 1)


def _where(call: Call) -> Tensor:
    condition = call["condition"].to(torch.float32)
    return call.tensor("self") * condition + call.tensor("other") * (1 - condition)


def _masked(call: Call) -> Tensor:
    mask = call["mask"].to(torch.float32)
    return call["self"] * (1 - mask) + call.tensor("value") * mask


def _between(call: Call) -> Tensor:
    return call.tensor("self") + call.tensor("end") * (call.tensor("weight") + 1)


def _plus_product(call: Call) -> Tensor:
    return call["self"] + call["tensor1"] * call["tensor2"] * float(call["value"] != 0)


def _plus_quotient(call: Call) -> Tensor:
    return call["self"] + call["tensor1"] * (call["tensor2"] + 1) * float(call["value"] != 0)


def _slope(call: Call) -> Tensor:
    """PReLU: x, and x times a slope a channel."""
    x, slope = call["self"], call["weight"]
    if slope.ndim == 1 and x.ndim > 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return x + x * slope


def _gated(call: Call) -> Tensor:
    values, gates = call["self"].chunk(2, call["dim"])
    return values * (gates + 1)


def _copied(call: Call) -> Tensor:
    source: Tensor = call["src"]
    return source.expand(call.shape)


def _part_written(call: Call) -> Tensor:
    """A slice of the first operand replaced by the second; an open end is the last place."""
    bits, source, dim = call["self"], call["src"], call["dim"]
    places = range(bits.shape[dim])[slice(call["start"], call["end"], call["step"])]
    written: Tensor = bits.index_copy(dim, torch.tensor(places, device=bits.device), source)
    return written


def _softmax(call: Call) -> Tensor:
    """Each entry reads all that are not masked with minus infinity."""
    bits: Tensor = call["self"]
    if call.operation.kept is None:
        return bits.sum(call["dim"], keepdim=True).expand(bits.shape) + 1
    kept = call.operation.kept.to(torch.float32)
    shifted = (bits * kept).sum(call["dim"], keepdim=True) + 1
    return shifted.expand(bits.shape) if "log" in call.operation.name else shifted * kept


def _dims(call: Call, bits: Tensor) -> list[int]:
    given = call["dim"] if call.has("dim") else None
    given = [given] if isinstance(given, int) else given
    return list(given) if given else list(range(bits.ndim))


def _window(call: Call) -> Tensor:
    """A largest, a least, a middle: it may be any."""
    bits: Tensor = call["self"]
    keep = call["keepdim"] if call.has("keepdim") else False
    return bits.sum(_dims(call, bits), keepdim=keep) if bits.ndim else bits


def _window_plus(call: Call) -> Tensor:
    return _window(call) + 1


def _picked(call: Call) -> Tensor:
    """The numbers that went through a selection by size, as it went."""
    places = call.operation.outputs[1]
    assert places is not None
    bits: Tensor = call["self"]
    return bits.gather(call["dim"], call.values[places].chosen) if bits.ndim else bits


def _pooled(call: Call, axes: int) -> Tensor:
    """A maximum over windows: the sum over them, which torch's average would count with other borders."""
    bits: Tensor = call["self"]
    size = _each(call["kernel_size"], axes)
    stride = _each(call["stride"] or size, axes)
    padding, dilation = _each(call["padding"], axes), _each(call["dilation"], axes)
    flat = bits.reshape(-1, 1, *bits.shape[-axes:])
    borders: list[int] = []
    for axis in reversed(range(axes)):
        needed = (call.shape[axis - axes] - 1) * stride[axis] + (size[axis] - 1) * dilation[axis] + 1
        borders += [padding[axis], needed - flat.shape[2 + axis] - padding[axis]]
    ones = torch.ones(1, 1, *size, device=bits.device)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return convolution(F.pad(flat, borders), ones, stride=stride, dilation=dilation).reshape(call.shape)


def _each(given: Any, axes: int) -> list[int]:
    sizes = [given] if isinstance(given, int) else list(given)
    return sizes * axes if len(sizes) == 1 else sizes


def _pooled_to(call: Call, axes: int) -> Tensor:
    average = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[axes - 1]
    return average(call["self"], call["output_size"])


def _resampled(call: Call) -> Tensor:
    """Bicubic resampling, axis by axis, with the magnitudes of its factors."""
    bits: Tensor = call["input"] if call.has("input") else call["self"]
    for axis in (-2, -1):
        size = bits.shape[axis]
        lines = torch.eye(size, device=bits.device).reshape(size, 1, 1, size)
        if axis == -2:
            lines = lines.transpose(-1, -2)
        target = [call.shape[-2], 1] if axis == -2 else [1, call.shape[-1]]
        scales = [call["scales_h"], None] if axis == -2 else [None, call["scales_w"]]
        factors = _copying_of(call)(lines, target, call["align_corners"], *scales).reshape(size, -1).abs()
        bits = (bits.transpose(axis, -1) @ factors).transpose(axis, -1)
    return bits


def _copying_of(call: Call) -> Any:
    return getattr(torch.ops.aten, call.operation.name).default


def _looked_up(call: Call) -> Tensor:
    """An embedding: the rows that constants name; all of them where the input may name any."""
    table, places = call["weight"], call["indices"]
    if places.is_floating_point():  # bits
        return places[..., None] * table.sum(0)
    return F.embedding(places, table)


def _indexed(call: Call) -> Any:
    """Advanced indexing, of a table by the input as of an embedding."""
    places = call["indices"]
    if not any(isinstance(one, Tensor) and one.is_floating_point() for one in places):
        return _itself(call)
    if len(places) > 1:
        return unknown(call)
    table: Tensor = call["self"]
    return places[0].reshape(*places[0].shape, *[1] * (table.ndim - 1)) * table.sum(0)


def _selected(call: Call) -> Any:
    if call["index"].is_floating_point():
        return unknown(call)
    return _itself(call)


def _weight_norm(call: Call) -> tuple[Tensor, Tensor]:
    """Directions times lengths; the norm that divides them is a statistic."""
    norms = call.operation.outputs[1]
    assert norms is not None
    return call["v"] * call["g"], torch.ones(call.values[norms].shape, device=call.device)


def _window_twice(call: Call) -> tuple[Tensor, Tensor]:
    return _window(call), _window(call)


def _table(stand: Any, names: str) -> Iterator[tuple[str, Any]]:
    yield from ((name, stand) for name in names.split())


_LINEAR = (  # in all tensors together
    "permute t transpose movedim expand squeeze unsqueeze slice select split "
    "split_with_sizes unsafe_split unsafe_split_with_sizes chunk unbind narrow cat stack diagonal diag flip "
    "roll rot90 repeat tril triu trace unfold im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle "
    "select_scatter diagonal_scatter masked_select index_copy index_add index_put "
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
    "sum mean nansum cumsum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d _upsample_bilinear2d_aa"
)
_MULTILINEAR = "prod mm bmm mv dot vdot addmm addmv addr baddbmm addbmm ger outer _trilinear convolution"
_COPIES = "clone detach alias lift_fresh lift contiguous _to_copy positive"
_SHAPED = "view _unsafe_view reshape _reshape_alias flatten"
_POOLS = [f"max_pool{axes}d{tail}" for axes in (1, 2, 3) for tail in ("", "_with_indices")]
LINEAR = frozenset([*_LINEAR.split(), *_COPIES.split(), *_SHAPED.split(), *_POOLS, "slice_scatter", "topk", "sort"])
UNARY = frozenset(("hardswish", "log_sigmoid_forward", "rrelu", "rrelu_with_noise"))
STANDS: dict[str, Stand] = dict(
    [
        *_table(_itself, f"{_LINEAR} {_MULTILINEAR}"),
        *_table(first, _COPIES),
        *_table(_independent, " ".join(FACTORIES)),
        *_table(_reshaped, _SHAPED),
        *_table(summed, "add sub rsub maximum minimum fmax fmin"),
        *_table(_product, "mul"),
        *_table(_quotient, "div"),
        *_table(_softmax, " ".join(SOFTMAX)),
        *_table(_window, "amax amin max min median nanmedian mode kthvalue"),
        *_table(_window_plus, "logsumexp"),
        *_table(_picked, "topk sort"),
        *_table(_selected, "gather index_select take scatter scatter_add"),
        *[(name, functools.partial(_pooled, axes=int(name[8]))) for name in _POOLS],
        *[(f"adaptive_max_pool{n}d", functools.partial(_pooled_to, axes=n)) for n in (1, 2, 3)],
        *_table(_resampled, "upsample_bicubic2d _upsample_bicubic2d_aa"),
        ("where", _where),
        ("masked_fill", _masked),
        ("lerp", _between),
        ("addcmul", _plus_product),
        ("addcdiv", _plus_quotient),
        *_table(_slope, "prelu _prelu_kernel"),
        ("glu", _gated),
        ("copy", _copied),
        ("slice_scatter", _part_written),
        ("constant_pad_nd", _padded),
        ("embedding", _looked_up),
        ("index", _indexed),
        ("_weight_norm_interface", _weight_norm),
    ]
)
STATISTICS: dict[str, Stand] = dict(
    [
        ("rsqrt", unary),
        *_table(_window, "var std linalg_vector_norm norm"),
        *_table(_window_twice, "var_mean std_mean"),
    ]
)
