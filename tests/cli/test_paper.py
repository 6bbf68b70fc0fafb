"""`sao paper`: the list, entries as lines, tables and Markdown, and what is refused."""

import pytest

from sao_cli.study.papers.paper_items import ITEMS


def test_without_an_id_there_is_a_list(sao):
    done = sao("paper")
    assert done.code == 0
    assert [row["item"] for row in done.rows] == list(ITEMS)
    assert {row["record"] for row in done.rows} == {"item"}
    assert all(row["takes"] for row in done.rows)


def test_an_item_is_an_entry_a_line(sao_in_process):
    done = sao_in_process("paper", "sao/table2")
    assert done.code == 0, done
    assert [row["record"] for row in done.rows] == ["entry"] * 6
    assert {row["verdict"] for row in done.rows} == {"reproduced"}
    assert done.err == "sao paper: 6 reproduced\n"


def test_several_are_told_one_after_another_and_once(sao_in_process):
    done = sao_in_process("paper", "sao/table3", "sao/table2", "sao/table3", "--json")
    assert [row["item"] for row in done.rows] == ["sao/table2"] * 6 + ["sao/table3"] * 5


def test_markdown_is_of_the_same_entries(sao_in_process, tmp_path):
    done = sao_in_process("paper", "sao/table2", "--markdown")
    assert done.out.startswith("## sao/table2: ")
    assert "| N = 1000 | 0.0001 | 0.0001 |  | reproduced |  |\n" in done.out
    assert sao_in_process("paper", "sao/table2", "--markdown", "-o", "page.md").code == 0
    assert (tmp_path / "page.md").read_text() == done.out
    assert "`sao/table6`" in sao_in_process("paper", "--markdown").out


def test_options_go_to_the_items_that_take_them(sao_in_process, tmp_path):
    done = sao_in_process("paper", "sao/table2", "sao/table12", "--depth", "8", "--data", "digits", "--markdown")
    assert done.code == 0, done
    assert "`sao paper sao/table2`" in done.out
    assert "`sao paper sao/table12 --data digits --depth 8`" in done.out
    assert "N = 16" not in done.out.partition("sao/table12")[2]
    nowhere = sao_in_process("paper", "sao/table2", "sao/table7", "--data-folder", "nowhere")
    assert nowhere.code == 2
    assert not nowhere.out
    assert "can't read mnist from nowhere" in nowhere.err


def test_processes_change_nothing(sao):
    asked = ("paper", "sao/fig7", "--seeds", "1")
    alone, several = sao(*asked), sao(*asked, "--jobs", "2")
    assert alone.code == 0
    assert alone.out == several.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sao/tabel6",), "unknown item 'sao/tabel6'; did you mean 'sao/table6'?"),
        (("sao/table6", "--seeds", "0"), "seeds 0"),
        (("sao/table6", "--depth", "50"), "no depths"),
        (("sao/table6", "--markdown", "--json"), "exclude each other"),
        (("sao/table6", "--data", "mnits"), "did you mean 'mnist'?"),
        (("sao/table6", "--jobs", "2", "--cluster", "tcp://127.0.0.1:1"), "give one of them"),
    ],
)
def test_what_is_refused(expect_error, arguments, said):
    expect_error("paper", *arguments, said=said)
