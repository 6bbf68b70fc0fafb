"""The documents tell the truth: the reference is today's help, and what the README shows is what its commands print."""

import doctest
import importlib.util
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
from click.testing import CliRunner

import sao_cli
from sao_cli.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell(line, folder):
    script = f"export PATH={shlex.quote(str(BIN))}:$PATH; set -o pipefail; {line}"
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)


def run(line, folder, monkeypatch):
    """Exit code and stderr of a line: a pipe by a shell, a single command in this process, which has loaded torch."""
    if "|" in line:
        done = shell(line, folder)
        return done.returncode, done.stderr
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, shlex.split(line)[1:], prog_name="sao")
    return done.exit_code, done.stderr


def test_the_generated_pages_are_what_the_code_says_today():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tests" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text() == module.cli_page()
    assert (ROOT / "docs" / "python.md").read_text() == module.python_page()
    assert (ROOT / "docs" / "json.md").read_text() == module.json_page()
    assert (ROOT / "docs" / "convolutions.md").read_text() == module.convolutions_page()


def test_the_first_command_prints_what_the_readme_shows(tmp_path):
    main_job = blocks("sh")[0].split("&&")[-1].replace(".venv/bin/", "")
    done = shell(main_job, tmp_path)
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.split("\n") if line.strip()] == [
        line.split() for line in blocks("text")[0].split("\n") if line.strip()
    ]
    assert "the standard one does not" in done.stderr


def test_the_second_command_is_what_ci_runs():
    assert blocks("sh")[1].strip() == ".venv/bin/pytest"
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(".venv/bin/pytest")


def table_commands():
    lines = [line for line in README.splitlines() if line.startswith("| ") and "`sao " in line]
    return [line.split(" | `", 1)[1].rsplit("`", 1)[0].replace("\\|", "|") for line in lines]


def test_the_tables_commands_run(tmp_path, monkeypatch):
    """In their order, in an empty folder: what they read, those before them and the network's block have written."""
    commands = table_commands()
    assert len(commands) >= 12
    made = shell(blocks("sh")[3], tmp_path)
    assert made.returncode == 0, made.stderr
    for command in commands:
        line = command.replace("jq '.lost_input_units // empty'", "cat").replace("--epochs 20", "--epochs 0")
        code, said = run(line, tmp_path, monkeypatch)
        assert code == 0, (command, said)


def test_the_picture_at_the_top_is_what_its_command_draws(tmp_path, monkeypatch):
    """To the size, for the lines are those of another processor's linear algebra."""
    code, said = run(blocks("sh")[2].strip(), tmp_path, monkeypatch)
    assert code == 0, said
    [picture] = re.findall(r"\]\((docs/pictures/[^)]+)\)", README)
    shown, drawn = (matplotlib.image.imread(path) for path in (ROOT / picture, tmp_path / "spectrum.png"))
    assert shown.shape == drawn.shape
    assert abs(shown - drawn).mean() < 0.01
    assert (ROOT / picture).stat().st_size < 100_000


def test_the_loop_runs(tmp_path):
    loop = blocks("sh")[4]
    done = shell(re.sub(r"\| jq .*", "| wc -l", loop), tmp_path)
    assert done.stdout.strip() == "4"


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert shown.startswith("True ")
    assert "minimum_possible" in shown
    assert (tmp_path / "stack.safetensors").exists()
    assert float(shown.split()[-2]) > 0
    assert shown.split()[-1] == "True"


def test_the_papers_table_is_what_its_recipe_prints(tmp_path):
    page = (ROOT / "docs" / "papers.md").read_text()
    [recipe] = re.findall(r"```sh\n(.*?)\n```", page, flags=re.DOTALL)
    [table] = re.findall(r"```text\n(.*?)\n```", page, flags=re.DOTALL)
    done = shell(recipe, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines() if line.strip()] == [
        line.split() for line in table.splitlines() if line.strip()
    ]
    assert (tmp_path / "fig9.pdf").exists()


MODULES = [name for _, name, _ in pkgutil.walk_packages(sao_cli.__path__, "sao_cli.") if "__main__" not in name]


def test_docstring_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sao_cli.write_masks(sao_cli.ramanujan_mask(512, 256, 8), "layer.npz")
    counts = [doctest.testmod(importlib.import_module(name)) for name in MODULES]
    assert sum(count.failed for count in counts) == 0
    assert sum(count.attempted for count in counts) > 10


@pytest.mark.parametrize(
    "page",
    [
        "cli.md",
        "shell.md",
        "json.md",
        "python.md",
        "papers.md",
        "criticality.md",
        "redundancy.md",
        "theory.md",
        "benchmarks.md",
        "experiments.md",
        "changelog.md",
    ],
)
def test_pages_are_there_and_links_lead_somewhere(page):
    text = (ROOT / "docs" / page).read_text()
    assert f"docs/{page}" in README
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / "docs" / target).exists()
