"""Each key is declared once: with one meaning a kind, one type in all kinds, and tables of what is there."""

import pytest

import sao_cli
from sao_cli.reports.audits import AuditRow, WeightFacts
from sao_cli.reports.declared import json_types, kinds
from sao_cli.reports.report import LineHead, facts_of

RECORDS = {"layer", "depth", "chain", "epoch", "change", "failure", "module", "network", "entry", "item", "summary"}
RECORDS |= {"term", "topic", "finding", "field"}
MEANS = {"c", "d"}  # degrees: whole numbers where all rows have as many, else means
BOTH = {
    "collapsed": {frozenset({"boolean"}), frozenset({"list of texts"})},  # of a layer whether, of a network which
    "rows": {frozenset({"object"}), frozenset({"whole number"})},  # of a weight; of an audit, how many lines it has
    "unread": {frozenset({"list of texts"}), frozenset({"whole number"})},  # tensors that can't be read; spare units
    "kappa": {frozenset({"whole number"}), frozenset({"number"})},  # weights that stay; a factor: the papers' letters
    "largest": {
        frozenset({"object"}),
        frozenset({"number"}),
    },  # of an audit's layers which, of a sweep's runs how large
}
TOLD = [kind for kind in kinds() if kind.record]


def one_type(words):
    """Reports are objects, and null is of every type."""
    return {"object" if word[0].isupper() else word for word in words} - {"null", "any"}


def test_a_key_has_one_type_in_all_reports():
    found = {}
    for kind in kinds():
        for key, words in json_types(kind).items():
            types = one_type(words)
            found.setdefault(key, set()).add(frozenset({"number"} if key in MEANS else types))
    assert {key: types for key, types in found.items() if len(types - {frozenset()}) > 1} == BOTH
    assert found["rank"] == found["layers"] == found["lost_inputs"] == {frozenset({"whole number"})}
    assert found["layer_names"] == {frozenset({"list of texts"})}
    assert found["skipped"] == {frozenset({"boolean"})}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_a_field_says_what_it_means(kind):
    assert all(fact.meaning for fact in facts_of(kind).values())
    assert kind.__doc__


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_a_record_has_its_word_and_its_table_is_of_what_it_tells(kind):
    assert kind.record in RECORDS
    assert ("summary" in facts_of(kind)) == (kind.record == "summary")
    assert set(kind.spare) <= set(kind.table)
    parts = {one.__name__: one for one in kinds()}
    for column in kind.table:
        outer, _, inner = column.partition(".")
        if {"before", "changes"} & set(facts_of(kind)) and outer not in facts_of(kind):
            parts_told = json_types(kind).get("before", ())
            own = AuditRow if "changes" in facts_of(kind) else WeightFacts
            assert outer in facts_of(parts.get(parts_told[0], own) if parts_told else own)
        elif inner:
            assert inner in facts_of(parts[json_types(kind)[outer][0]])
        else:
            assert outer in facts_of(kind)


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_a_report_is_a_public_name(kind):
    public = {**dict.fromkeys(sao_cli.__all__, sao_cli), **dict.fromkeys(sao_cli.nets.__all__, sao_cli.nets)}
    assert getattr(public[kind.__name__], kind.__name__) is kind


def test_every_line_begins_alike():
    keys = ["record", "command", "version", "seed", "source", "run", "over", "provenance"]
    assert list(facts_of(LineHead)) == keys
