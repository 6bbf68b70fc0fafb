"""`sao explain`: what it prints, and how it refuses."""

import pytest


def test_a_key(sao):
    done = sao("explain", "isometry_error")
    assert (done.code, done.err) == (0, "")
    [row] = done.rows
    assert (row["record"], row["command"], row["kind"]) == ("term", "explain", "key")
    assert row["unit"] == "max |s_i - 1|"
    assert row["sections"] == ["9. The spectrum of one layer"]


def test_a_table_of_several(sao):
    done = sao("explain", "sao", "--table")
    assert done.code == 0
    assert "K disjoint complete bipartite graphs" in done.out
    assert "13. Checkpoints" in done.out


def test_without_a_name_the_topics(sao):
    done = sao("explain")
    assert done.code == 0
    assert {row["record"] for row in done.rows} == {"topic"}
    assert next(row for row in done.rows if row["name"] == "methods")["names"][0] == "sao"


@pytest.mark.parametrize(
    ("name", "near"), [("lambda2", "'lambda_2'"), ("sparsty", "'sparsity'"), ("trainble", "'trainable'")]
)
def test_a_misspelt_name(sao, name, near):
    done = sao("explain", name)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"sao explain: unknown name '{name}'; did you mean {near}")
    assert done.err.count("\n") == 1


def test_a_shell_completes_names(sao, monkeypatch):
    monkeypatch.setenv("_SAO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "sao explain isometry_e")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert sao().out.split() == ["plain,isometry_error"]
