"""What a name means: of the catalog, a key of a report, a kind of report, a verdict, a word of the field."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Iterator, Sequence

from sao_cli.base.errors import SaoError
from sao_cli.reports.declared import json_types, kinds
from sao_cli.reports.frames import Reports
from sao_cli.reports.report import PAIR, LineHead, Report, fact, facts_of
from sao_cli.reports.words import THEORY, TOPICS, Topic, Word

KEY, REPORT = "key", "report"
NEAREST = 3


class Explanation(
    Report,
    record="term",
    table="name kind meaning unit option types reports sections",
    spare="types option reports sections",
):
    """What a name means: a line of `sao explain NAME`, and of what `explain` gives."""

    name: str = fact("the name, as it is typed or printed")
    kind: str = fact(
        'what it is the name of: "key" of a report, "report", "method", "activation", "verdict", "word" ...'
    )
    meaning: str = fact("what it means")
    unit: str | None = fact("its unit or equation; null where it has none", default=None)
    option: str | None = fact("the option that takes it; null where none does", default=None)
    types: tuple[str, ...] = fact("of a key: the types that it has in JSON", default=())
    reports: tuple[str, ...] = fact("of a key: the reports that have it, as docs/json.md tells them", default=())
    sections: tuple[str, ...] = fact("sections of docs/theory.md on it", default=())


class TopicNames(Report, record="topic", table="name meaning names"):
    """A kind of names that can be explained: a line of `sao explain`."""

    name: str = fact("the topic, which `sao explain` takes too")
    meaning: str = fact("what its names are")
    names: tuple[str, ...] = fact("all of them")


def explain(name: str) -> Reports[Explanation]:
    """All that `name` means: a name of the catalog, a verdict, a word of the field, a key of reports, a report.

    A key may be one of a part, as "ks.pvalue". The name of a topic, as `topics` has them, stands for all of its names.
    Upper and lower case, spaces, hyphens and underscores are alike. Raises SaoError, with the nearest names, for what
    is none. O(all names).

    >>> [(one.kind, one.meaning, one.unit) for one in explain("ks.n1")]
    [('key', 'values that are tested', None)]
    >>> explain("relu")[0].meaning, explain("Edge of chaos")[0].sections
    ('max(h, 0)', ('17. The edge of chaos',))
    """
    known, asked = _all(), _plain(name)
    found = [one for one in known if _plain(one.name) == asked] or _of_part(name, known)
    found += [
        one for topic, kind in _topic_kinds().items() if _plain(topic) == asked for one in known if one.kind == kind
    ]
    if not found:
        raise SaoError(_unknown(name, known))
    return Reports(found)


def topics() -> Reports[TopicNames]:
    """The kinds of names that `explain` knows, with all of their names."""
    lines = {row.name: row.line for row in TOPICS.values()} | {"keys": "keys of reports", "reports": "kinds of reports"}
    named: dict[str, dict[str, None]] = {}
    for one in _all():
        named.setdefault(one.kind, {})[one.name] = None
    return Reports(
        TopicNames(name=topic, meaning=lines[topic], names=tuple(named[kind])) for topic, kind in _topic_kinds().items()
    )


def _topic_kinds() -> dict[str, str]:
    return {row.name: row.one for row in TOPICS.values()} | {"keys": KEY, "reports": REPORT}


@functools.cache
def _all() -> tuple[Explanation, ...]:
    of_names = [one for topic in TOPICS.values() for one in _of_topic(topic)]
    first = {(one.name, one.meaning): one for one in reversed(of_names)}  # what is trained may be what is made
    return (*(one for one in of_names if first[one.name, one.meaning] is one), *_of_keys(), *map(_of_report, kinds()))


def _of_report(kind: type[Report]) -> Explanation:
    meaning = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
    return Explanation(name=kind.__name__, kind=REPORT, meaning=meaning, sections=_sections(kind.theory))


def _of_topic(topic: Topic) -> Iterator[Explanation]:
    for row in topic.names.values():
        of = (row.theory,) if isinstance(row, Word) else topic.theory
        yield Explanation(
            name=row.name, kind=topic.one, meaning=row.line, option=topic.option or None, sections=_sections(*of)
        )


def _of_keys() -> Iterator[Explanation]:
    """Each meaning of each key, with the records that have it; of what is of parts alone, the parts."""
    found: dict[tuple[str, str, str], list[type[Report]]] = {}
    types = {kind: json_types(kind) for kind in kinds()}
    for kind in types:
        for key, told in facts_of(kind).items():
            found.setdefault((key, told.meaning, told.unit), []).append(kind)
    for (key, meaning, unit), there in found.items():
        own = [kind for kind in there if kind.record] or there
        yield Explanation(
            name=key,
            kind=KEY,
            meaning=meaning,
            unit=unit or None,
            types=tuple(dict.fromkeys(word for kind in own for word in types[kind][key])),
            reports=tuple("every line" if kind is LineHead else kind.__name__ for kind in own),
            sections=_sections(*(_theory(kind, key) for kind in own)),
        )


def _theory(kind: type[Report], key: str) -> int:
    """The section that a key says, or that the report says which declares it."""
    home = next(base for base in kind.__mro__ if key in inspect.get_annotations(base))
    return facts_of(kind)[key].theory or vars(home).get("theory", 0)


def _sections(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number}. {THEORY[number - 1]}" for number in dict.fromkeys(numbers) if number)


def _of_part(name: str, known: Sequence[Explanation]) -> list[Explanation]:
    """Of "outer.inner": the key `inner` of what is under `outer`, or that pair."""
    outer, _, inner = name.strip().partition(".")
    there = [one for one in known if one.kind == KEY and one.name == outer]
    if inner in PAIR:
        return [one for one in there if any("pair" in word for word in one.types)]
    parts = {word for one in there for word in one.types}
    return [one for one in known if one.kind == KEY and one.name == inner and parts & set(one.reports)]


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


def _unknown(name: str, known: Sequence[Explanation]) -> str:
    plain = {_plain(told): told for told in (*(one.name for one in known), *_topic_kinds())}
    near = [plain[one] for one in difflib.get_close_matches(_plain(name), plain, NEAREST)]
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"unknown name {name!r}; {hint}`sao explain` lists all names, by topics"
