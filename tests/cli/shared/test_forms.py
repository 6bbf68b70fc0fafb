"""--csv, --markdown and --columns, on every command that reports."""

import csv
import io
import json

import click
import pytest
from click.testing import CliRunner

from sao_cli import sao_mask, write_masks
from sao_cli.cli import COMMANDS, main

NO_REPORT = {"completion", "help"}
TWO = "verify two.mtx"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_masks([sao_mask(8, 8, 2), sao_mask(8, 8, 4)], "two.mtx")
    return lambda line, **env: CliRunner(env=env).invoke(main, line.split(), prog_name="sao")


def table(done):
    assert done.exit_code == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def lines(done):
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused(done):
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_every_command_that_reports_has_all_forms():
    with click.Context(main) as context:
        options = {name: {one.name for one in main.get_command(context, name).params} for name in COMMANDS}
    assert {name for name, known in options.items() if "as_json" not in known} == NO_REPORT
    for name in COMMANDS.keys() - NO_REPORT:
        assert {"csv", "markdown", "columns"} <= options[name], name


def test_csv_is_the_rows_of_the_json(run):
    rows, told = lines(run(f"{TWO} --json")), table(run(f"{TWO} --csv"))
    assert len(rows) == len(told) == 2
    for row, cells in zip(rows, told, strict=True):
        row.pop("provenance")
        assert list(row) == [key for key in cells if not key.startswith("provenance.")]
        for key, value in row.items():
            read = None if cells[key] == "" else cells[key] if isinstance(value, str) else json.loads(cells[key])
            assert read == value, key


def test_csv_flattens_and_leaves_out_what_sums_up(run):
    told = table(run("spectrum --method sao --method dense -m 8 -n 8 --csv"))
    assert [row["ks.reference"] for row in told] == ["dense", "dense"]
    told = table(run("reach -m 8 -n 8 --layers 3 --csv"))
    assert [row["layer"] for row in told] == ["1", "2", "3"]
    assert "full_at" not in told[0]


def test_csv_to_a_file(run, tmp_path):
    run(f"{TWO} --csv -o two.csv")
    assert len((tmp_path / "two.csv").read_text().splitlines()) == 3


def test_the_summary_of_matrices_has_all_forms_too(run):
    assert [row["nnz"] for row in table(run("mask -m 8 -n 8 -d 2 --layers 2 --csv"))] == ["16", "16"]
    assert run("mask -m 8 -n 8 --markdown").stdout.startswith("|  |  |\n| --- | --- |\n")
    assert lines(run("weights -m 8 -n 8 -d 2 --columns nnz,layer")) == [{"nnz": 16, "layer": 1}]


def test_columns_in_every_form(run):
    picked = "--columns holds,layer"
    assert lines(run(f"{TWO} {picked}")) == [{"holds": True, "layer": 1}, {"holds": True, "layer": 2}]
    assert run(f"{TWO} --csv {picked}").stdout == "holds,layer\ntrue,1\ntrue,2\n"
    assert run(f"{TWO} --markdown {picked}").stdout == "| holds | layer |\n| --- | --- |\n| yes | 1 |\n| yes | 2 |\n"
    assert run(f"{TWO} --table {picked}").stdout.split() == ["holds", "layer", "─" * 12, "yes", "1", "yes", "2"]


def test_columns_of_parts_and_of_one_row(run):
    [row] = lines(run("spectrum -m 8 -n 8 --columns ks.n1,method"))
    assert row == {"ks.n1": 8, "method": "sao"}
    assert run("spectrum -m 8 -n 8 --table --columns ks.n1,method").stdout.split() == ["ks.n1", "8", "method", "sao"]


def test_columns_leave_out_what_sums_up(run):
    assert lines(run("reach -m 8 -n 8 --layers 2 --columns full")) == [{"full": False}, {"full": True}]


def test_a_column_that_there_is_not_names_the_nearest(run):
    for form in ("--json", "--csv", "--markdown", "--table"):
        told = refused(run(f"{TWO} {form} --columns layer,lamda_2"))
        assert "no report has 'lamda_2'; did you mean 'lambda_2'?" in told
    assert "no row has 'full'; " in refused(run(f"{TWO} --columns full"))  # which other commands' rows have
    assert "names no column" in refused(run(f"{TWO} --columns layer,,holds"))


def test_a_column_that_no_report_has_is_refused_before_anything_is_written(run, tmp_path):
    kept = tmp_path / "R.npz"
    kept.write_text("old")
    assert "no report has '8'" in refused(run(f"reach -m 8 -n 8 -o {kept} --columns 8"))
    assert kept.read_text() == "old"


def test_forms_exclude_each_other(run):
    for forms in ("--csv --markdown", "--csv --json", "--markdown --table"):
        assert "exclude each other" in refused(run(f"{TWO} {forms}"))


def test_a_form_of_the_settings_gives_way(run, tmp_path):
    (tmp_path / "own.toml").write_text("[verify]\ntable = true\n")
    assert run(TWO, SAO_CONFIG="own.toml").stdout.split()[0] != "{"
    assert len(table(run(f"{TWO} --csv", SAO_CONFIG="own.toml"))) == 2


def test_a_sweep_has_them_for_all_its_rows(run):
    told = table(run("sweep --over d=2,4 --csv -- mask -m 8 -n 8"))
    assert [(row["run"], row["over.d"], row["nnz"]) for row in told] == [("1", "2", "16"), ("2", "4", "32")]
    assert "stand before the command" in refused(run("sweep --over d=2,4 -- mask --csv"))


def test_an_audit_picks_from_all_its_facts(run):
    run("weights --widths 8,8,8 --method dense -o m.safetensors")
    assert lines(run("audit m.safetensors --columns name,condition --include layer.2"))[0].keys() == {
        "name",
        "condition",
    }
    [row] = table(run("audit m.safetensors --csv --include layer.2"))
    assert (row["name"], row["rank"], row["skipped"]) == ("layer.2", "8", "false")
    assert "| layer.1 | 8x8 |" in run("audit m.safetensors --markdown").stdout


def test_shells_complete_columns():
    asked = {"_SAO_COMPLETE": "bash_complete", "COMP_WORDS": "sao audit --columns name,sigma_m", "COMP_CWORD": "3"}
    told = CliRunner(env=asked).invoke(main, [], prog_name="sao").stdout.splitlines()
    assert {"plain,name,sigma_max", "plain,name,sigma_min"} <= set(told)
