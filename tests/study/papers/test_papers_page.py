"""docs/papers.md: what needs no seed is what `sao paper` says now, and every item has its place."""

import pytest

from sao_cli import paper_items
from sao_cli.study.papers.entries_markdown import items_markdown
from sao_cli.study.papers.paper_items import ITEMS

from ... import papers_page

EXACT = ("sao/table1", "sao/table2", "sao/table3", "sao/table4")
PAGE = papers_page.PAGE.read_text()


@pytest.mark.parametrize("item", EXACT)
def test_what_is_exact_is_up_to_date(item):
    assert papers_page.shown(PAGE, item) == papers_page.section(item)


def test_every_item_has_its_place_and_the_list_is_up_to_date():
    assert papers_page.shown(PAGE, "list") == items_markdown(paper_items())
    for item, row in ITEMS.items():
        assert papers_page.shown(PAGE, item).startswith(f"## {item}: {row.line}\n"), item


def test_a_section_takes_the_place_of_its_own():
    page = papers_page.renewed(PAGE, "sao/table2", "new\n")
    assert papers_page.shown(page, "sao/table2") == "new\n"
    assert papers_page.shown(page, "sao/table3") == papers_page.shown(PAGE, "sao/table3")
    assert papers_page.renewed(page, "sao/table2", papers_page.shown(PAGE, "sao/table2")) == PAGE


@pytest.mark.parametrize("item", papers_page.ON_MNIST)
def test_what_is_shown_of_mnist_has_its_place(item):
    shown = papers_page.shown(PAGE, papers_page.MNIST.format(item))
    assert shown.startswith(f"### {item} on MNIST\n")
    assert "mnist)" in shown.splitlines()[2]
    assert papers_page.below(item, f"## {item}: what it is\n\nmore\n") == f"### {item} on MNIST\n\nmore\n"
