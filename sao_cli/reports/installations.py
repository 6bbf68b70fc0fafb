"""Reports on an installation: what is there, what is missing, and what brings it."""

from sao_cli.reports.report import Report, fact

FINE, NOTE, MISSING, BROKEN = "fine", "note", "missing", "broken"


class Finding(
    Report, record="finding", table="topic name status found needed_for remedy", spare="needed_for found topic"
):
    """One thing that was looked at: a line of `sao doctor`, and of what `doctor` gives."""

    topic: str = fact(
        '"program", "package", "extra", "linear algebra", "device", "data" or, of the command alone, "terminal"'
    )
    name: str = fact("what was looked at")
    status: str = fact(
        '"fine"; "note" of what is worth knowing; "missing" of what only some tasks need; "broken" of what sao needs, '
        "and is not there, too old, or fails"
    )
    found: str | None = fact("its version, its number or what it said; null where there is nothing")
    needed_for: str | None = fact("what it is needed for; null of what all is", default=None)
    remedy: str | None = fact(
        "what would bring or mend it, mostly a command; null where nothing is to be done", default=None
    )
