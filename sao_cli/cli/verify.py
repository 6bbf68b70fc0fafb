"""`sao verify`: eigenvalue conditions of a mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.inputs import read_layers, required_source
from sao_cli.cli.shared.networks import asked_weights
from sao_cli.cli.shared.options import PICKING, common_options, executor_options, module_options, stack_argument
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Criterion
from sao_cli.cli.shared.workers import asked_executor, refuse_module, refuse_pipes
from sao_cli.reports.masks import Expansion
from sao_cli.reports.report import origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sao_cli.data.mask import Mask
    from sao_cli.measure.values.singular_values import SingularValues
    from sao_cli.models.places import StackPlace

FAILS, CANNOT_TELL = 1, 2
OF_STACKS = PICKING
HEADINGS = {"Weights that are read": "", "Condition": "criterion"}


@click.command(cls=SaoCommand, headings=HEADINGS)
@stack_argument
@click.option(
    "--criterion",
    type=Criterion(),
    default="paper",
    show_default=True,
    help="The condition that decides the exit code; as N:M, that no row has more ones in M consecutive inputs.",
)
@executor_options
@module_options
@plot_option
@common_options
@click.pass_obj
def verify(
    talk: Talk,
    /,
    file: str | None,
    picked: dict[str, Any],
    criterion: str,
    jobs: int,
    cluster: str | None,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    plot: PictureFile | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
) -> int:
    """Verify the eigenvalue conditions of a mask, or of each mask of a stack or a checkpoint.

    The standard condition: the graph is connected and lambda_2, counted with multiplicity, is at most
    sqrt(c-1) + sqrt(d-1). The paper's looks at distinct eigenvalues only, which every SAO mask satisfies. Both are
    reported; --criterion decides the exit code: 0 it holds for every layer, 1 it fails for one, 2 it can't be told.
    `error` is that of lambda_2, a bound or an estimate as `error_kind` says; equality with the bound holds.

    With --module a row is of each weight that ran on the --example, outputs by inputs as it was used, and of a kernel
    the mask is of its channels.

    --jobs and --cluster take a mask a job, and change nothing in what is printed. To a cluster's workers FILE's path
    travels, and no mask; they read it themselves.

    Example: sao mask --m 256 --n 256 --d 4 --method ramanujan | sao verify --criterion standard
    """
    told: dict[str, Any] = {"as_json": as_json, "output": output, "report": Expansion}
    refuse_module(jobs, cluster, module)
    asked: dict[str, Any] = {"criterion": criterion, "seed": seed, "progress": talk}
    if module is not None:
        from sao_cli.nets.tracing.measured_weights import module_expansions

        weights = asked_weights(module_expansions, file, module, examples, OF_STACKS, **asked)
        emit("verify", seed, [row.to_dict() for row in weights.rows], source=file, **told)
        _explain(weights.rows, talk)
        if plot is not None:
            drawn = [weight.mask() for weight in weights.weights[: _panels()]]
            _draw(weights.rows, _spectra(drawn, seed, talk), plot)
        return _exit_code(weights.rows, unknown=len(weights.skipped))
    source = required_source(file)
    refuse_pipes(cluster, source)
    stack = read_layers(source, picked, talk, ordered=False)
    masks = stack.masks()
    spectra = _spectra(masks, seed, talk) if plot is not None else []  # first, since memory may not do for it
    found: list[Expansion] = []
    with asked_executor(jobs, cluster) as executor:
        asked |= {"executor": executor, "place": None if cluster is None else _place(source, picked)}
        emit("verify", seed, _rows(masks, stack.names, found, asked), source=source, **told)
    _explain(found, talk)
    if plot is not None:
        _draw(found, spectra, plot)
    return _exit_code(found)


def _draw(found: list[Expansion], spectra: list[SingularValues], plot: PictureFile) -> None:
    from sao_cli.plots import eigenvalue_figure

    values = [_within_the_facts(*layer) for layer in zip(spectra, found, strict=False)]
    plot.save(eigenvalue_figure(found, values, [one.exact for one in spectra]))


def _panels() -> int:
    from sao_cli.plots import MAX_PANELS

    return MAX_PANELS


def _spectra(masks: list[Mask], seed: int, talk: Talk) -> list[SingularValues]:
    from sao_cli.data.matrix import Matrix
    from sao_cli.measure.values.singular_values import measured_singular_values

    found = [
        measured_singular_values(Matrix(mask), seed=seed, layer=layer, progress=talk)
        for layer, mask in enumerate(masks[: _panels()], 1)
    ]
    for layer, one in enumerate(found, 1):
        if not one.exact:
            talk.warn(f"layer {layer}: the picture is of a {one.reason}")
    return found


def _within_the_facts(spectrum: SingularValues, result: Expansion) -> NDArray[np.float64]:
    """The values to draw: estimated ones know lambda_1 and lambda_2, so that none strays between them."""
    import numpy as np

    if spectrum.exact:
        return spectrum.values
    values = np.minimum(spectrum.values, result.lambda_2)
    values[0] = result.lambda_1
    return values


def _place(source: str, picked: dict[str, Any]) -> StackPlace:
    from sao_cli.models.places import StackPlace

    return StackPlace.of(source, picked)


def _rows(masks: list[Mask], names: Sequence[str], found: list[Expansion], asked: dict[str, Any]) -> Iterator[Row]:
    from sao_cli.models.verify import expansions

    for layer, one in enumerate(expansions(masks, **asked), 1):
        name = names[layer - 1] if names else None
        found.append(replace(one, layer=layer, name=name))
        yield found[-1].to_dict() | origin(masks[layer - 1].provenance)


def _explain(found: list[Expansion], talk: Talk) -> None:
    """Say, once for all layers that it is true of, what can't be told, and why the two readings disagree."""
    layers: dict[str, list[int]] = {}
    for layer, result in enumerate(found, 1):
        if (kind := _disagreement(result)) is not None:
            layers.setdefault(kind, []).append(layer)
    for kind, (first, *others) in layers.items():
        more = f" (and {len(others)} more layers)" if others else ""
        talk.warn(f"layer {first}{more}: {EXPLANATIONS[kind](found[first - 1])}")


def _disagreement(result: Expansion) -> str | None:
    if result.holds is None:
        return "undecided"
    if result.ramanujan_paper and result.ramanujan is False:
        return "paper alone"
    return "standard alone" if result.ramanujan and result.ramanujan_paper is False else None


def _undecided(result: Expansion) -> str:
    return f"can't tell whether the condition holds: {result.reason}"


def _paper_alone(result: Expansion) -> str:
    return (
        f"the paper's condition holds (lambda_2_distinct = {result.lambda_2_distinct:.6g} <= {result.bound:.6g}) and "
        f"the standard one does not: the graph has {result.components} components, so lambda_2 = lambda_1 = "
        f"{result.lambda_1:.6g}; `sao mask --method ramanujan` satisfies both"
    )


def _standard_alone(result: Expansion) -> str:
    return (
        f"the standard condition holds, with the mean degrees c = {result.c:.6g} and d = {result.d:.6g}, and the "
        f"paper's does not: the mask is not biregular, with {_span(result.row_degree)} ones a row and "
        f"{_span(result.column_degree)} a column; `sao mask --method ramanujan` satisfies both"
    )


EXPLANATIONS = {"undecided": _undecided, "paper alone": _paper_alone, "standard alone": _standard_alone}


def _span(degrees: tuple[int, int]) -> str:
    least, most = degrees
    return f"{least}" if least == most else f"{least} to {most}"


def _exit_code(found: list[Expansion], unknown: int = 0) -> int:
    """The verdict on layers, and on so many more that are `unknown`."""
    verdicts = [result.holds for result in found] + [None] * unknown
    if False in verdicts:
        return FAILS
    return CANNOT_TELL if None in verdicts else 0
