"""docs/benchmarks.md, made from what the benchmarks recorded: no figure in it is typed.

python tests/benchmarks_page.py      from tests/benchmarks/results, which tests/benchmarks/run_all.py makes anew

A benchmark's section begins with the paragraphs of its docstring, and ends with its NOTES where it has them: Markdown,
in which {ratio of JOB}, {sao of JOB}, {instead of JOB} and {value of NAME} stand for what is recorded under that name.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE, BENCHMARKS = ROOT / "docs" / "benchmarks.md", ROOT / "tests" / "benchmarks"
RESULTS = BENCHMARKS / "results"
FIRST = "bench_growth"  # of the sections
NAMES = ("record", "job", "instead", "name", "title")  # what tells rows of a benchmark apart
INTRODUCTION = """# Benchmarks

Ratios of what `sao` takes to what one would use instead take, both measured in one run, with one BLAS thread on both
sides unless threads are what is compared: medians of turns, and in brackets the quartiles of the turns' ratios, where
sides took turns. Absolute times vary from run to run, and the ratios less. A goal is the most that was aimed at.

`python tests/benchmarks/run_all.py` measures all of it, `python tests/benchmarks_page.py` makes this page of what was
measured. `pip install -e '.[bench]'` brings what is compared with. What networks learn is in
[experiments.md](experiments.md).
"""
PLACE = re.compile(r"\{(ratio|sao|instead|value) of ([^}]+)\}")
UNITS = ((1.0, 1, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs"))  # from so many seconds on, a second is so many of these


@dataclass(frozen=True)
class Run:
    """A benchmark's file: what ran, where, and the rows that it measured."""

    told: dict[str, Any]
    machine: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def benchmark(self) -> str:
        """Its script's name."""
        return self.told["benchmark"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The rows of a kind."""
        return [row for row in self.rows if row["record"] == kind]


def runs(folder: Path = RESULTS) -> list[Run]:
    """All that is recorded, growth before the rest, which is in the order of names."""
    found = []
    for path in folder.glob("*.jsonl"):
        told, machine, *rows = map(json.loads, path.read_text().splitlines())
        found.append(Run(told, machine, [named_with(row, machine["environment"]) for row in rows]))
    found.sort(key=lambda run: (run.benchmark != FIRST, run.benchmark, run.told["command"], run.machine["environment"]))
    return list(without_repetitions(found))


def named_with(row: dict[str, Any], variables: Sequence[str]) -> dict[str, Any]:
    """The row, whose name says which variables that change times were set."""
    told = f", with {' and '.join(variables)} set" if variables else ""
    return row | {key: row[key] + told for key in ("job", "name", "title") if key in row}


def without_repetitions(found: Iterable[Run]) -> Iterator[Run]:
    """The runs, those with options without what the one without them measured too."""
    seen = set()
    for run in found:
        named = {json.dumps([run.benchmark, *(row.get(key) for key in NAMES)]): row for row in run.rows}
        yield Run(run.told, run.machine, [row for name, row in named.items() if name not in seen])
        seen |= set(named)


def number(value: float) -> str:
    """Three digits, with commas in thousands, and powers of ten where they are shorter."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return re.sub(r"e([+-])0*", lambda sign: "e-" if sign[1] == "-" else "e", f"{value:.3g}")
    digits = float(f"{value:.3g}")
    return f"{digits:,.0f}" if abs(digits) >= 100 else f"{digits:.3g}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit, seconds in whichever of theirs is near."""
    if unit != "s":
        return f"{number(value)} {unit}".strip()
    _, factor, name = next(row for row in UNITS if value >= row[0])
    return f"{number(factor * value)} {name}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head, *lines = (" | ".join(one.replace("|", r"\|") for one in line) for line in (columns, *rows))
    return "\n".join([f"| {head} |", "|" + "---|" * len(columns), *(f"| {line} |" for line in lines)])


def ratio_row(row: dict[str, Any]) -> list[str]:
    """A comparison's job, both sides, ratio with its quartiles, and goal."""
    theirs = quantity(row["theirs"], row["unit"])
    quartiles = f" ({' to '.join(map(number, row['quartiles']))})" if row["quartiles"] else ""
    instead = f"{row['instead']}: {theirs}" if row["instead"] else theirs
    ratio = f"**{number(row['ratio'])}x**{quartiles}"
    return [row["job"], quantity(row["ours"], row["unit"]), instead, ratio, goal_cell(row, "x")]


def goal_cell(row: dict[str, Any], unit: str) -> str:
    """The goal, and whether it is met."""
    if row["goal"] is None:
        return ""
    goal = f"{row['goal']:g}x" if unit == "x" else quantity(row["goal"], unit)
    return f"{goal}, {'met' if row['met'] else '**missed**'}"


def value_row(row: dict[str, Any]) -> list[str]:
    """A measurement that stands for itself."""
    return [row["name"], quantity(row["value"], row["unit"]), goal_cell(row, row["unit"])]


def growth_table(row: dict[str, Any]) -> str:
    """Time and peak memory by size, with the exponents behind them."""
    sizes, seconds, memory = zip(*row["rows"], strict=True)
    goal = f" (goal {row['goal']:g}, {'met' if row['met'] else '**missed**'})" if row["goal"] is not None else ""
    columns = [f"{row['job']}; {row['size']} =", *(f"{size:,}" for size in sizes), "exponent", "of the last decade"]
    exponents = [[f"{one:.2f}" for one in row[name]] for name in ("time", "memory")]
    exponents[0][0] += goal
    return table(
        columns,
        [
            ["time", *(quantity(one, "s") for one in seconds), *exponents[0]],
            ["peak of the process", *(quantity(one, "MB") for one in memory), *exponents[1]],
        ],
    )


def plain_table(row: dict[str, Any]) -> str:
    """A table as the benchmark has it, with what it is of."""
    told = [
        [cell if isinstance(cell, str) else "" if cell is None else number(cell) for cell in one] for one in row["rows"]
    ]
    return f"{row['title']}:\n\n{table(row['columns'], told)}"


def goals_table(found: Sequence[Run]) -> str:
    """All comparisons and measurements that have a goal."""
    rows = [ratio_row(row) for run in found for row in run.of("ratio") if row["goal"] is not None]
    for run in found:
        for job, measured, goal in (value_row(row) for row in run.of("value") if row["goal"] is not None):
            rows.append([job, measured, "", "", goal])
    return table(["job", "sao", "instead", "ratio", "goal"], rows)


def machine_lines(found: Sequence[Run]) -> Iterator[str]:
    """A line for each machine, with the benchmarks where there are several."""
    by_machine: dict[str, list[Run]] = {}
    for run in found:
        facts = {key: value for key, value in run.machine.items() if key not in ("blas", "environment")}
        by_machine.setdefault(json.dumps(facts), []).append(run)
    for facts, those in sorted(by_machine.items(), key=lambda pair: -len(pair[1])):
        told = json.loads(facts)
        libraries = sorted({one for run in those for one in run.machine["blas"]})
        of = f" ({', '.join(f'`{run.benchmark}`' for run in those)})" if len(by_machine) > 1 else ""
        versions = ", ".join(f"{name} {told[name]}" for name in ("numpy", "scipy", "torch", "numba") if told[name])
        gpu = f", {told['gpu']}" if told["gpu"] else ""
        yield (
            f"Measured{of} on {told['cores']} cores of {told['processor']}, {told['memory_gb']} GB of memory{gpu}, "
            f"{told['system']}, Python {told['python']}, {versions}; {', '.join(libraries)}."
        )


def section(name: str, those: Sequence[Run]) -> Iterator[str]:
    """A benchmark's part of the page: what it compares, its commands, its tables, and why goals are missed."""
    source = ast.parse((BENCHMARKS / f"{name}.py").read_text())
    yield f"## {name.removeprefix('bench_').replace('_', ' ').capitalize()}"
    yield from paragraphs(ast.get_docstring(source) or "")
    yield "\n".join(map(command_line, those))
    rows = [row for run in those for row in run.rows]
    if ratios := [ratio_row(row) for row in rows if row["record"] == "ratio"]:
        yield table(["job", "sao", "instead", "ratio", "goal"], ratios)
    if values := [value_row(row) for row in rows if row["record"] == "value"]:
        yield table(["measured", "sao", "goal"], values)
    yield from (growth_table(row) for row in rows if row["record"] == "growth")
    yield from (plain_table(row) for row in rows if row["record"] == "table")
    if notes := constant(source, "NOTES"):
        yield PLACE.sub(lambda place: measured(rows, place[1], place[2]), notes).strip()


def paragraphs(docstring: str) -> Iterator[str]:
    """Those of a docstring that say what is compared, without those that say how it is called."""
    for one in docstring.split("\n\n"):
        if not one.lstrip().startswith(("python ", "`python ")):
            yield one


def command_line(run: Run) -> str:
    """How it is run again, how long it took and how busy the cores were before."""
    told = run.told
    variables = " and ".join(run.machine["environment"])
    slowed = f", with {variables} set" if variables else ""
    busy = f", beside other work (load {told['load']:g})" if told["load"] > run.machine["cores"] + 1 else ""
    return f"- `{told['command']}`: {quantity(told['seconds'], 's')} on {told['date']}{busy}{slowed}"


def constant(source: ast.Module, name: str) -> str:
    """The string that a module calls so, or nothing."""
    for statement in source.body:
        if isinstance(statement, ast.Assign) and any(getattr(one, "id", None) == name for one in statement.targets):
            return str(ast.literal_eval(statement.value))
    return ""


def measured(rows: Sequence[dict[str, Any]], what: str, name: str) -> str:
    """A figure by its name."""
    for row in rows:
        if what == "value" and row.get("name") == name:
            return quantity(row["value"], row["unit"])
        if what != "value" and row.get("job") == name and row["record"] == "ratio":
            if what == "ratio":
                return f"{number(row['ratio'])}x"
            return quantity(row["ours" if what == "sao" else "theirs"], row["unit"])
    return "(not measured)"


def page(folder: Path = RESULTS) -> str:
    """The whole of docs/benchmarks.md."""
    found = runs(folder)
    parts = [INTRODUCTION.strip(), *machine_lines(found), "## Against what one would use instead", goals_table(found)]
    for name in dict.fromkeys(run.benchmark for run in found):
        parts += section(name, [run for run in found if run.benchmark == name])
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
