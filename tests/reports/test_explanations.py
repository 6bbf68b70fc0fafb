"""What a name means: of everything that the catalog, the reports and the theory name, and of nothing else."""

import inspect
import re
from pathlib import Path

import click
import pytest

import sao_cli
from sao_cli import SaoError, catalog, explain, topics
from sao_cli.cli import COMMANDS, main
from sao_cli.measure.criticality import criticality, fixed_points, verdict
from sao_cli.models.audit import comparison
from sao_cli.reports.declared import kinds
from sao_cli.reports.report import facts_of
from sao_cli.reports.words import THEORY, TOPICS, VERDICTS, WORDS
from sao_cli.study.papers import paper_verdicts
from sao_cli.weights import repair_weight
from sao_cli.weights.isometry import STOPPED

DOCS = Path(sao_cli.__file__).parent.parent / "docs"


def test_sections_are_the_headings_of_the_theory():
    headings = re.findall(r"^## (\d+)\. (.+)$", (DOCS / "theory.md").read_text(), flags=re.MULTILINE)
    assert [(int(number), title) for number, title in headings] == list(enumerate(THEORY, 1))


def test_every_key_of_the_json_page_is_explained_as_there():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+?) \| (?:`(.*)`|) \|$", (DOCS / "json.md").read_text(), re.MULTILINE)
    assert len(rows) > 400
    told = {name: {(one.meaning, one.unit or "") for one in explain(name)} for name in {row[0] for row in rows}}
    assert not [row for row in rows if tuple(cell.replace("\\|", "|") for cell in row[1:]) not in told[row[0]]]


TABLES = (
    *(catalog.METHODS, catalog.VALUES, catalog.SCHEMES, catalog.PRUNING, catalog.SCORES, catalog.DENSITIES),
    *(catalog.TRAIN_METHODS, catalog.INITS, catalog.ACTIVATIONS, catalog.ARCHITECTURES, catalog.DATA, catalog.LABELS),
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: next(iter(table)))
def test_every_name_of_the_catalog_is_explained(table):
    for row in table.values():
        assert row.line in {one.meaning for one in explain(row.name)}


def test_every_verdict_that_is_given_is_explained():
    source = "".join(map(inspect.getsource, (verdict, fixed_points, criticality, comparison, repair_weight)))
    assert all(f'"{name}"' in source for name in list(VERDICTS)[:10] if name != "trainable")
    given = set(re.findall(r'return "([a-z-]+)", (?:f"|\()', inspect.getsource(verdict)))
    given |= {getattr(paper_verdicts, name) for name in ("REPRODUCED", "REFUTED", "NOT_REPRODUCED", "NOT_RUN")}
    given |= set(
        re.findall(r'"((?:only )?[a-z]+)"', "".join(re.findall(r"status=(.*)", inspect.getsource(comparison))))
    )
    assert len(given) > 11
    assert given | set(STOPPED) | {verdict.TRAINABLE, "worse"} <= set(VERDICTS)


def test_the_option_of_a_topic_is_one():
    with click.Context(main) as context:
        options = {name for one in COMMANDS for part in main.get_command(context, one).params for name in part.opts}
    assert {topic.option for topic in TOPICS.values()} - {""} <= options


def test_a_fact_of_science_has_its_section():
    bare = {kind.__name__ for kind in kinds() if not kind.theory}
    assert {name for name in bare if not name.startswith(("Paper", "LineHead", "RunFailure", "Sweep", "Seed"))} == {
        *("Explanation", "TopicNames", "Finding")
    }
    assert explain("ramanujan_paper")[0].sections == ("3. Eigenvalue conditions, two readings",)
    assert explain("sigma_min")[0].sections == ("9. The spectrum of one layer",)


def test_parts_and_pairs():
    [pvalue] = explain("ks.pvalue")
    assert (pvalue.reports, pvalue.types) == (("KSTest",), ("number",))
    assert {one.name for one in explain("row_degree.max")} == {"row_degree"}
    for none in ("ks.nothing", "nnz.min", "ks.name", "."):
        with pytest.raises(SaoError, match="unknown name"):
            explain(none)


@pytest.mark.parametrize("spelt", ["Sigma-Min", " sigma min ", "SIGMA_MIN"])
def test_spelling_is_lenient(spelt):
    assert explain(spelt) == explain("sigma_min")


def test_the_nearest_names_are_said():
    with pytest.raises(SaoError, match=r"^unknown name 'sparsty'; did you mean 'sparsity' or .*`sao explain` lists"):
        explain("sparsty")
    with pytest.raises(SaoError, match=r"^unknown name '~'; `sao explain` lists all names, by topics$"):
        explain("~")


def test_a_topic_stands_for_its_names():
    for topic in topics():
        assert topic.names
        told = [one.name for one in explain(topic.name)]
        assert [name for name in topic.names if name not in told] == []
    assert [one.name for one in explain("verdicts")] == list(VERDICTS)
    assert {one.kind for one in explain("score")} == {"word"}
    assert len(WORDS) == len(next(one for one in topics() if one.name == "words").names)


def test_what_is_declared_alike_is_told_once():
    for one in explain("keys"):
        assert one.reports
        assert one.types
    assert {*next(one for one in topics() if one.name == "keys").names} == {
        key for one in kinds() for key in facts_of(one)
    }
