"""How a command hands over the matrices that it made: as a stream, a file, or a summary."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sao_cli.cli.shared.talk import Talk

if TYPE_CHECKING:
    from sao_cli.data.kernel import Kernel
    from sao_cli.data.mask import Mask
    from sao_cli.data.matrix import Matrix


def deliver(
    command: str,
    weights: "Sequence[Matrix | Kernel]",
    seed: int,
    *,
    source: str | None = None,
    as_json: bool | None,
    output: str | None,
    talk: Talk,
) -> None:
    """Write the weights to `output`, or to stdout as a stream; a terminal, --json and --table get a summary.

    `source` is what they were read from, as it was named. `output` "-" is stdout, and then the stream is all.
    """
    from sao_cli.io import write_weights

    weights = [replace(one, mask=_signed(one.mask, command)) for one in weights]
    if output is None and as_json is None and not sys.stdout.isatty():
        output = "-"
    if output is not None:
        write_weights(weights, output)
    if output is None or (as_json is not None and output != "-"):
        _summarise(command, weights, seed, source, as_json)
        if output is None:
            what, name = ("kernel", "kernel.safetensors") if command == "kernel" else ("matrix", "layer.mtx")
            talk.say(f"this is a summary; to keep the {what} itself, pipe it on or name a file: -o {name}")


def _signed(mask: "Mask", command: str) -> "Mask":
    """The mask, its provenance naming the command that made it, after the version."""
    told = dict(mask.provenance)
    head = {"version": told.pop("version"), "command": command} if "version" in told else {"command": command}
    told.pop("command", None)
    return replace(mask, provenance=head | told)


def _summarise(
    command: str, weights: "Sequence[Matrix | Kernel]", seed: int, source: str | None, as_json: bool | None
) -> None:
    from sao_cli.cli.shared.render import emit
    from sao_cli.reports.report import facts_of, origin
    from sao_cli.reports.weights import Built

    rows = (
        _row(layer, one, facts_of(Built)) | (origin(one.mask.provenance) if source is not None else {})
        for layer, one in enumerate(weights, 1)
    )
    emit(command, seed, rows, as_json=as_json, output=None, source=source, report=Built)


def _row(layer: int, one: "Matrix | Kernel", keys: Collection[str]) -> dict[str, Any]:
    """What is built: its counts, and what its provenance tells of it."""
    mask = one.mask
    row = {"record": "layer", "layer": layer, "m": mask.m, "n": mask.n, "nnz": mask.nnz}
    row |= {"density": mask.density, "sparsity": mask.sparsity}
    row |= {key: what for key, what in mask.provenance.items() if key in keys and key not in row}
    if isinstance(stride := row.get("stride"), int):
        row["stride"] = [stride] * (len(one.shape) - 2)
    row |= {} if one.values is None else {"dtype": one.dtype}
    return row | ({"shape": list(one.shape)} if len(one.shape) > 2 else {})
