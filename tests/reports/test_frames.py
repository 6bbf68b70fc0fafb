"""Reports in a notebook: tables of HTML by kind, frames with a line a report, and what help() shows of all names."""

import importlib.util
import pydoc
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import sao_cli
from sao_cli import (
    Matrix,
    Reports,
    SaoError,
    audit_checkpoint,
    compare_checkpoints,
    compare_spectra,
    explain,
    plan,
    prune_checkpoint,
    rank_checkpoint,
    reduce_checkpoint,
    repair_checkpoint,
    sweep,
    topics,
    write_checkpoint,
)
from sao_cli.reports.explanations import Explanation


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint({"<b>.weight": np.eye(3), "z.weight": np.ones((3, 3))}, "m.safetensors")


def test_a_frame_has_a_line_a_report(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda records: records))
    for reports in (explain("sparsity"), topics(), plan([8, 8]), audit_checkpoint("m.safetensors")):
        assert reports.to_frame() == [one.to_dict() for one in reports]


@pytest.mark.parametrize(
    "made",
    [
        lambda: prune_checkpoint("m.safetensors", "o.safetensors", sparsity=0.5, skip_ends=False).rows,
        lambda: repair_checkpoint("m.safetensors", "o.safetensors").rows,
        lambda: reduce_checkpoint("m.safetensors", "o.safetensors").rows,
        lambda: rank_checkpoint("m.safetensors").rows,
        lambda: compare_spectra({name: lambda _: [Matrix.from_dense(np.eye(12))] for name in "ab"}),
        lambda: sweep("sao_cli:spectrum", over={"weight": [np.eye(12), np.ones(12)], "seed": [0]}),
    ],
    ids=["prune", "repair", "reduce", "rank", "compare_spectra", "sweep"],
)
def test_what_a_function_tells_by_rows_is_a_table_and_a_frame(monkeypatch, made):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda records: records))
    rows = made()
    assert len(rows) == 2
    assert rows[-1] is list(rows)[1]
    assert rows.to_frame() == [row if isinstance(row, dict) else row.to_dict() for row in rows]
    shown = rows._repr_html_()
    assert shown.count("<tr>") == 3
    assert len(re.findall("<th>", shown)) > 3
    assert max(map(len, re.findall("<td>(.*?)</td>", shown, flags=re.DOTALL))) < 1000


@pytest.mark.skipif(importlib.util.find_spec("pandas") is not None, reason="pandas is there")
def test_without_pandas_it_says_what_brings_it():
    with pytest.raises(SaoError, match="pip install pandas"):
        explain("sparsity").to_frame()


def test_a_notebook_s_table_has_the_columns_of_its_kind():
    shown = audit_checkpoint("m.safetensors")._repr_html_()
    assert "<b>" not in shown
    assert "<td>&lt;b&gt;.weight</td>" in shown
    heads = re.findall("<th>(.*?)</th>", shown)
    assert heads[0] == "name"
    assert "sigma_max" in heads
    assert "alpha" not in heads  # which no row has
    assert shown.count("<tr>") == 3


def test_kinds_have_tables_of_their_own_and_long_ones_say_how_much_is_left_out():
    rows = compare_checkpoints({"a": "m.safetensors", "b": "m.safetensors"})
    assert rows._repr_html_().count("<table>") == 2
    many = Reports(Explanation(name=str(number), kind="key", meaning="x") for number in range(101))
    assert many._repr_html_().endswith("<p>1 more rows; to_frame() has all</p>")
    assert Reports([])._repr_html_() == ""


def test_reports_are_a_list():
    found = plan([8, 8, 8])
    assert isinstance(found, list)
    assert found == list(found)
    assert len(found[:1]) == 1


@pytest.mark.parametrize("package", [sao_cli, sao_cli.nets], ids=["sao_cli", "nets"])
def test_help_of_a_package_fits_a_screen(package):
    shown = pydoc.plain(pydoc.render_doc(package))
    assert len(shown.splitlines()) < 50
    assert dir(package) == sorted(package.__all__)
    assert len(package.__all__) > 50


def test_the_names_that_the_package_s_own_words_tell_are_there():
    topics_told = re.findall(r"^    \w+  +(.*)$", sao_cli.__doc__, flags=re.MULTILINE)
    names = [name for line in topics_told for name in re.findall(r"[A-Za-z_]+", line.partition(";")[0])]
    assert len(names) > 35
    assert set(names) <= set(sao_cli.__all__)
