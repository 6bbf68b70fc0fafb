"""The audit of a module as it runs: each weight measured as the run used it, and the network that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.names import load
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.io.checkpoints.structure import chosen_names
from sao_cli.measure.values.by_array import Solver
from sao_cli.models.audit.chains import audit_summary
from sao_cli.models.audit.checks import Check, check
from sao_cli.models.audit.comparison import compare_measured, compare_networks
from sao_cli.models.audit.reasons import NO_WEIGHT, UNMEASURED, said
from sao_cli.models.audit.row import audit_weight, skipped_row, too_large
from sao_cli.models.audit.stream import allowed_jobs
from sao_cli.models.audit.tensor_jobs import rows_in_threads
from sao_cli.models.select import Selection
from sao_cli.nets.tracing.network import Network
from sao_cli.nets.tracing.recording import unwrapped
from sao_cli.nets.tracing.used_weights import UsedWeight, used_weight
from sao_cli.nets.tracing.weight_uses import plain_name
from sao_cli.reports.audits import (
    AuditChain,
    AuditComparison,
    AuditRow,
    AuditSummary,
    CheckFailure,
    ContextFacts,
)
from sao_cli.reports.frames import Framed
from sao_cli.reports.networks import NetworkFacts, NetworkLayer
from sao_cli.reports.report import Report, facts_of

_PAGE = "pages.context_table:network_section"  # a home: pages are made of reports, and nets knows none of them
_OF_EXAMPLE = ("inputs", "outputs", "norms", "example")  # what unknown operations leave as it is


class ModuleAudit(Framed, Sequence[Report]):
    """One module's audit, as audit_model makes it: its rows, and last the record of its network."""

    chains: Sequence[AuditChain] = ()

    def __init__(self, rows: Sequence[AuditRow], network: Network, checks: Sequence[Check]) -> None:
        self.rows, self.recorded, self.checks = list(rows), network, checks
        self.network: NetworkFacts = network.summary.facts

    def __len__(self) -> int:
        return len(self.rows) + 1

    def __iter__(self) -> Iterator[Any]:
        return iter([*self.rows, self.network])

    def __getitem__(self, place: Any) -> Any:
        return [*self.rows, self.network][place]

    @cached_property
    def summary(self) -> AuditSummary:
        """All rows in one."""
        return audit_summary(self.rows)

    @cached_property
    def failures(self) -> list[CheckFailure]:
        """What fails the checks, check by check, of the rows and then of the network."""
        return [failure for one in self.checks for failure in self._failures(one)]

    def since(self, earlier: ModuleAudit) -> list[AuditComparison]:
        """What changed since an `earlier` audit of the module, of weights that one of both measured.

        Raises SaoError where one of them measured none.
        """
        for one in (earlier, self):
            one.require_rows()
        return compare_measured(earlier.rows, self.rows)

    def network_since(self, earlier: ModuleAudit) -> AuditComparison:
        """What changed of the whole network since an `earlier` audit of the module."""
        return compare_networks(earlier.network, self.network)

    def require_rows(self) -> None:
        """Raise SaoError where no weight was measured."""
        if not self.summary.rows:
            raise SaoError("no weight of the module was audited: none that ran could be measured")

    def _repr_html_(self) -> str:
        return str(load(_PAGE)(self.network, self.recorded.layers, self.recorded.edges))

    def _failures(self, one: Check) -> list[CheckFailure]:
        found = check(self.rows, one.text) if one.field.split(".")[0] in facts_of(AuditRow) else []
        if self.network.unknown and one.field in facts_of(ContextFacts):
            passed = {failure.name for failure in found}
            found += [self._untold(one, row) for row in self.rows if not row.skipped and row.name not in passed]
        if one.field in facts_of(NetworkFacts):
            found += [self._of_network(one)] if self._of_network(one) else []
        return found

    def _of_network(self, one: Check) -> Any:
        if self.network.unknown and one.field not in _OF_EXAMPLE:
            return self._untold(one, self.network, "network")
        return one.fails_of("network", self.network)

    def _untold(self, one: Check, report: Any, name: str = "") -> CheckFailure:
        reason = f"can't tell: nothing is known of {', '.join(self.network.unknown)}, and the facts are bounds"
        value = getattr(report, one.field)
        return CheckFailure(name=name or report.name, check=one.text, field=one.field, value=value, reason=reason)


def audit_model(
    module: nn.Module,
    *inputs: Tensor,
    norms: str = "unit",
    checks: str | Sequence[str] = (),
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    threshold: float = 0.0,
    max_size: int | None = None,
    heavy_tail: bool = False,
    fast: bool = False,
    solver: Solver | None = None,
    jobs: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> ModuleAudit:
    """The audit of a module's weights as they ran on `inputs`, in the order run, and the record of its network.

    Each weight is measured as audit_weight does, with the orientation, groups, image, stride, padding and dilation
    that its first use had, and its row tells its place in the network: `effective` and what follows, which are
    Network's. Parameters that multiplied nothing are skipped rows. `checks` are conditions such as "sigma_min>0.1" on
    the rows, and "reachable>0" on the network; where an operation is unknown, none on the network's facts passes.
    `include` and `exclude` are patterns of the names that get a row; the network stays whole. So many `jobs` measure at
    once, as audit_checkpoint's do, and what is measured is what it is there.

    Raises what Network.from_module raises, and SaoError for checks that are none and patterns that match nothing.
    Cost: those of both.

    >>> import torch
    >>> found = audit_model(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), torch.ones(1, 3))
    >>> [(row.name, row.effective) for row in found.rows if not row.skipped], found.network.reachable
    ([('0.weight', 6), ('2.weight', 2)], 1.0)
    """
    conditions = [Check.of(text, AuditRow, NetworkFacts) for text in ([checks] if isinstance(checks, str) else checks)]
    jobs = allowed_jobs(jobs, heavy_tail)
    module = unwrapped(module)
    network = Network.from_module(module, *inputs, norms=norms)
    others = _others(module, {layer.name for layer in network.layers})
    names = [*(layer.name for layer in network.layers), *(row.name for row in others)]
    selection = Selection.of(include, exclude)
    chosen = chosen_names(names, selection.include, selection.exclude) if names else set()
    asked: dict[str, Any] = {"threshold": threshold, "max_size": max_size, "heavy_tail": heavy_tail, "fast": fast}
    asked |= {"solver": solver, "seed": seed}

    def measure(number: int, progress: Progress) -> AuditRow:
        weight, layer = network.weights[number], network.layers[number]
        row = _row(used_weight(module, network.recording, weight), asked | {"progress": progress})
        return replace(row, **_context(layer))

    wanted = [number for number, layer in enumerate(network.layers) if layer.name in chosen]
    rows = list(rows_in_threads(measure, wanted, jobs, progress))
    return ModuleAudit([*rows, *(row for row in others if row.name in chosen)], network, conditions)


def _context(layer: NetworkLayer) -> dict[str, Any]:
    return {key: getattr(layer, key) for key in facts_of(ContextFacts)}


def _others(module: nn.Module, ran: set[str]) -> list[AuditRow]:
    """The parameters that are no weight that ran."""
    return [
        skipped_row(name, tuple(one.shape), str(one.dtype).removeprefix("torch."), NO_WEIGHT)
        for name, one in module.named_parameters()
        if name not in ran and plain_name(name) not in ran
    ]


def _row(used: UsedWeight, asked: dict[str, Any]) -> AuditRow:
    """The facts of one weight, or why it could not be measured."""
    reason = too_large(used.numbers.shape, asked["max_size"]) or used.reason
    if reason:
        return skipped_row(used.name, used.numbers.shape, used.dtype, reason, kind=used.kind)
    born = used.dtype if used.dtype == "bfloat16" else None  # which numpy lacks
    told: dict[str, Any] = {"transposed": used.transposed, "groups": used.groups, **(used.geometry or {})}
    try:
        with one_thread():
            row = audit_weight(used.numbers, name=used.name, dtype=born, **told, **asked)
    except UNMEASURED as error:
        return skipped_row(used.name, used.numbers.shape, used.dtype, said(error), kind=used.kind)
    return replace(row, reason="; ".join(filter(None, (row.reason, used.gap))) or None)
