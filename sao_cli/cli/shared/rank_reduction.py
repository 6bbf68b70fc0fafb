"""Options of training in which parallel rows and columns are fused."""

from typing import Any

import click


def rare_options(command: Any) -> Any:
    """--rare, --l2, --tau-cos, --tau-euc, --check-every, --frobenius and --dropout, None where they are not given."""
    options = (
        click.option(
            "--rare",
            metavar="LAMBDA",
            type=float,
            help="Factor of the loss RaRe, as 20, with which parallel rows and columns are fused; 0 fuses without it.",
        ),
        click.option("--l2", metavar="LAMBDA", type=float, help="Of the mean ||W||_F^2, with --rare.  [default: 0.1]"),
        click.option("--tau-cos", type=float, help="Fuse where 1 - |cos| is below it, with --rare.  [default: 1e-4]"),
        click.option("--tau-euc", type=float, help="And their distance below this one.  [default: 0.1]"),
        click.option("--check-every", metavar="STEPS", type=int, help="Between searches for pairs.  [default: 10]"),
        click.option(
            "--frobenius/--no-frobenius",
            default=None,
            help="Train norms of matrices apart from them, with --rare.  [default: frobenius]",
        ),
        click.option(
            "--dropout", metavar="RATE", type=float, help="Of every layer's inputs, with --rare.  [default: 0]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
