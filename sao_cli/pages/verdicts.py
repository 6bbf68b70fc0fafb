"""What an audit found, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sao_cli.io.output import shown
from sao_cli.pages.text import counted, shortened
from sao_cli.reports.audits import AuditChain, AuditRow, AuditSummary

GOOD, PLAIN, NOTE, BAD = "good", "plain", "note", "bad"  # a plain one says what is as it should be
NAMED = 3  # layers that a sentence names
ISOMETRIC = 0.05  # singular values so near to their scale, relatively: our choice, as that of `sao spectrum --within`
LOST = 0.01  # of the largest singular value: what a layer shrinks by more than that, it all but loses


NOTHING_LIKELY = 0.05  # the p-value from which on a test says nothing
KS_P = (
    "KS p asks whether all singular values are equal to within rounding, as those of an orthogonal layer times a "
    "number are. That is far stricter than isometric, which here means within 5 %: no rounding explains values that "
    "are 1 % off, and of many such p is nearly 0, yet signals pass as they should. A small p says not exactly "
    "orthogonal, and not bad."
)


class Verdict(NamedTuple):
    """A sentence, and whether it is good, plain, a note, or bad."""

    level: str
    text: str


def verdicts(
    rows: Sequence[AuditRow],
    chains: Sequence[AuditChain],
    summary: AuditSummary,
    checks: Sequence[str] = (),
    failed: Mapping[str, Sequence[str]] | None = None,
) -> list[Verdict]:
    """What there is to say of the audited `rows`, the `chains` of them and the `summary`. O(rows).

    `checks` are those that were asked for, and `failed` the ones that each row fails, by its name.
    """
    if not rows:
        return [Verdict(BAD, "Nothing was audited: every tensor was skipped.")]
    return [
        *_of_checks(checks, failed or {}),
        *_of_masks(rows),
        *_of_dead(rows),
        *_of_values(rows, summary),
        *[_of_chain(chain) for chain in chains],
        *_of_estimates(rows),
        *_of_skipped(summary),
    ]


def _of_checks(checks: Sequence[str], failed: Mapping[str, Sequence[str]]) -> list[Verdict]:
    if not checks:
        return []
    if not failed:
        return [Verdict(GOOD, f"{_all(len(checks), 'check')} on every layer.")]
    broken = [check for check in checks if any(check in ones for ones in failed.values())]
    told = "; ".join(
        f"{check} on {counted(sum(check in ones for ones in failed.values()), 'layer')}" for check in broken
    )
    return [Verdict(BAD, f"{len(broken)} of {counted(len(checks), 'check')} fail: {told}.")]


def _all(count: int, what: str) -> str:
    return f"The {what} holds" if count == 1 else f"All {count} {what}s hold"


def _of_masks(rows: Sequence[AuditRow]) -> list[Verdict]:
    apart = [row for row in rows if row.connected is False]
    if not apart:
        return [Verdict(GOOD, f"{_every(len(rows))} connected.")] if all(row.connected for row in rows) else []
    listed = _listed([f"{_short(row.name)} ({counted(row.components or 0, 'component')})" for row in apart])
    return [Verdict(NOTE, f"{len(apart)} of {counted(len(rows), 'layer')} {_are(len(apart))} disconnected: {listed}.")]


def _of_dead(rows: Sequence[AuditRow]) -> list[Verdict]:
    dead = [row for row in rows if row.dead_inputs or row.dead_outputs]
    if not dead:
        return []
    listed = _listed([f"{_short(row.name)} ({_dead(row)})" for row in dead])
    return [Verdict(BAD, f"{counted(len(dead), 'layer has', 'layers have')} dead inputs or outputs: {listed}.")]


def _dead(row: AuditRow) -> str:
    parts = [(row.dead_inputs, "input"), (row.dead_outputs, "output")]
    return " and ".join(counted(count, what) for count, what in parts if count)


class _Values(NamedTuple):
    """What is known of a layer's singular values, of which `rank` of `all` are not 0; `scale` is not 0."""

    name: str
    low: float
    high: float
    scale: float
    rank: int
    all: int
    pvalue: float

    @property
    def spread(self) -> float:
        """How far they are from their root mean square, relatively."""
        return max(self.high / self.scale - 1, 1 - self.low / self.scale)


def _known(rows: Sequence[AuditRow]) -> Iterator[_Values]:
    for row in rows:
        if row.sigma_min is None or row.sigma_max is None or row.rank is None or not row.scale:
            continue
        count = row.rank if row.singular_values is None else len(row.singular_values)
        sides = min(row.m or count, row.n or count) if row.kind == "matrix" else count
        pvalue = 1.0 if row.ks is None else row.ks.pvalue
        yield _Values(_short(row.name), row.sigma_min, row.sigma_max, row.scale, row.rank, sides, pvalue)


def _of_values(rows: Sequence[AuditRow], summary: AuditSummary) -> list[Verdict]:
    known = list(_known(rows))
    even = [one for one in known if one.spread <= ISOMETRIC]
    lost = sorted((one for one in known if one.low < LOST * one.high), key=lambda one: one.low / one.high)
    short = [one for one in known if one.rank < one.all]
    found = []
    if even:
        who = _every(len(known)) if len(even) == len(known) else f"{len(even)} of {len(known)} layers {_are(len(even))}"
        span = _span([one.scale for one in even])
        found.append(Verdict(GOOD, f"{who} isometric: singular values within 5 % of {span}."))
        inexact = sum(one.pvalue < NOTHING_LIKELY for one in even)
        found += [Verdict(PLAIN, f"Of these {counted(inexact, 'has', 'have')} a small KS p. {KS_P}")] if inexact else []
    if len(even) < len(known) and summary.worst_isometry is not None:
        worst, error = _short(summary.worst_isometry["name"]), summary.worst_isometry["isometry_error"]
        reach = f"singular values up to {error:.3g} from 1 (isometry_error)"
        found.append(Verdict(NOTE, f"Farthest from isometry is {worst}: {reach}."))
    if lost:
        listed = _listed([f"{one.name} (sigma_min {one.low:.3g})" for one in lost])
        told = counted(len(lost), "layer lost isometry", "layers lost isometry")
        found.append(Verdict(BAD, f"{told}, sigma_min under 1 % of sigma_max: {listed}."))
    if short:
        listed = _listed([f"{one.name} ({one.rank} of {one.all})" for one in short])
        found.append(Verdict(BAD, f"{counted(len(short), 'layer is', 'layers are')} rank-deficient: {listed}."))
    return found


def _of_chain(chain: AuditChain) -> Verdict:
    names, reachable = chain.layer_names, chain.reachable
    who = f"The chain of {counted(chain.layers, 'layer')} from {_short(names[0])} to {_short(names[-1])}"
    reason = shown(chain.reason or "no reason given")
    if chain.order is None:
        many = counted(chain.layers, "layer")
        return Verdict(NOTE, f"Who reaches whom through {many} the file does not tell: {reason}.")
    if reachable is None:
        return Verdict(NOTE, f"{who} was not followed: {reason}.")
    if chain.full_at is not None and reachable == 1:
        return Verdict(GOOD, f"{who} is connected: every input reaches every output, from layer {chain.full_at} on.")
    lost, unreached = chain.lost_inputs or 0, chain.unreached_outputs or 0
    ends = [
        counted(lost, "input reaches", "inputs reach") + " no output" if lost else "",
        counted(unreached, "output is", "outputs are") + " reached by no input" if unreached else "",
    ]
    told = "; ".join(end for end in ends if end)
    if not reachable:
        empty = counted(chain.collapsed_layers or 0, "empty layer", "empty layers")
        why = f"{empty} in it" if chain.collapsed_layers else "though no layer is empty"
        return Verdict(BAD, f"{who} is dead: no input reaches an output, {why}.")
    share = "almost all" if reachable > 0.9995 else f"{100 * reachable:.3g} %"
    text = f"{who}: {share} of the pairs of an input and an output are linked{'; ' if told else ''}{told}."
    return Verdict(BAD if told else NOTE, text)


def _of_estimates(rows: Sequence[AuditRow]) -> list[Verdict]:
    count = sum(row.exact is False for row in rows)
    told = f"{counted(count, 'layer is', 'layers are')} large: their singular values are estimates."
    return [Verdict(NOTE, told)] if count else []


def _of_skipped(summary: AuditSummary) -> list[Verdict]:
    """Weights that could not be read are a fault; biases and the like are skipped as they should be."""
    names = [_short(name) for name in summary.unread]
    told = f"{counted(len(names), 'weight')} could not be read: {_listed(names)}."
    return [*([Verdict(BAD, told)] if names else []), *_of_reasons(summary)]


def _of_reasons(summary: AuditSummary) -> list[Verdict]:
    reasons = summary.skipped_reasons
    if not reasons:
        return []
    first = [f"{count:,} {shortened(shown(reason), 60)}" for reason, count in list(reasons.items())[:NAMED]]
    more = len(reasons) - len(first)
    listed = ", ".join([*first, counted(more, "other reason")] if more else first)
    return [Verdict(PLAIN, f"{counted(summary.skipped_tensors, 'tensor was', 'tensors were')} skipped: {listed}.")]


def _every(count: int) -> str:
    return "The layer is" if count == 1 else f"All {count} layers are"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _span(scales: Sequence[float]) -> str:
    low, high = min(scales), max(scales)
    return f"{high:.3g}" if high - low < 0.01 * high else f"their scale ({low:.3g} to {high:.3g})"


def _short(name: str) -> str:
    return shortened(shown(name), 60)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
