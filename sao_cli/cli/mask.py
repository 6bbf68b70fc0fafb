"""`sao mask`: build a mask, or a stack of them."""

import sys
from dataclasses import replace
from typing import Any

import click

from sao_cli.cli.options import build_masks, common_options, mask_options
from sao_cli.cli.talk import Talk
from sao_cli.mask import Mask

COLUMNS = ("layer", "m", "n", "c", "d", "nnz", "sparsity", "method")


@click.command()
@mask_options
@common_options
@click.pass_obj
def mask(talk: Talk, /, seed: int, as_json: bool | None, output: str | None, **described: Any) -> None:
    """Build the mask of a sparse layer, or the masks of a stack of layers.

    The result is a Matrix Market stream, or, with -o, a file whose suffix says its format: .mtx, .mtx.gz, .npz, .npy,
    .safetensors or .pt. On a terminal, and with --json or --table, a summary is printed instead.

    \b
    Methods:
      sao        K disjoint complete bipartite graphs: exactly orthogonalisable (the default)
      ramanujan  random lifts of K_{c,d}, drawn until one is certified: connected
      biregular  a uniformly random simple (c, d)-biregular graph
      xnet       every output reads d random inputs
      radix      RadiX-Net's mixed-radix topology
      lrp        uniformly random positions

    Example: sao mask --m 512 --n 256 --c 8 --method ramanujan | sao verify --criterion standard
    """
    from sao_cli.io import write_masks

    masks = build_masks(seed, talk, output, **described)
    masks = [replace(one, provenance=_with_command(one)) for one in masks]
    if output is not None:
        write_masks(masks, output)
    if as_json is None and output is None and not sys.stdout.isatty():
        write_masks(masks, "-")
    elif as_json is not None or output is None:
        _summarise(masks, seed, as_json)
        if output is None:
            talk.say("this is a summary; to keep the mask itself, pipe it on or name a file: -o layer.mtx")


def _with_command(one: Mask) -> dict[str, Any]:
    version, *rest = one.provenance.items()
    return dict([version, ("command", "mask"), *rest])


def _summarise(masks: list[Mask], seed: int, as_json: bool | None) -> None:
    from sao_cli.cli.render import emit

    rows = (
        {"layer": layer, "m": one.m, "n": one.n, "nnz": one.nnz, "density": one.density, "sparsity": one.sparsity}
        | {
            key: one.provenance[key]
            for key in one.provenance
            if key not in ("version", "command", "seed", "layer", "m", "n")
        }
        for layer, one in enumerate(masks, 1)
    )
    emit("mask", seed, rows, as_json=as_json, output=None, columns=COLUMNS)
