"""Entries as Markdown: a long reason that many have is told once, and nothing is lost."""

from sao_cli import paper_entries
from sao_cli.study.papers.entries_markdown import LONG, MANY, item_markdown


def test_a_long_reason_that_many_have_is_told_once():
    entries = paper_entries("sao/table9")
    [reason] = {entry.reason for entry in entries if entry.verdict == "not run"}
    assert len(reason) > LONG
    told = item_markdown("sao/table9", entries)
    assert told.count(reason) == 1
    assert told.endswith(f"|\n\n[1] {reason}\n")
    assert told.count("| not run | [1] |\n") == sum(entry.verdict == "not run" for entry in entries) > MANY


def test_other_reasons_stand_in_their_rows():
    entries = paper_entries("sao/table9")
    few = [entry for entry in entries if entry.verdict == "not run"][:MANY]
    told = item_markdown("sao/table9", few)
    assert told.count(few[0].reason) == MANY
    assert "[1]" not in told
