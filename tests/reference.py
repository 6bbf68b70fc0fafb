"""The generated pages of docs/: cli.md from --help, python.md from docstrings, json.md from the
reports' declarations, and the table of convolutions.md.

Run it to write them.
"""

import functools
import inspect
import re
from dataclasses import fields
from pathlib import Path

import click
from click.testing import CliRunner

import sao_cli
from sao_cli.cli import COMMANDS, main
from sao_cli.reports.declared import json_types, kinds
from sao_cli.reports.report import LineHead, facts_of

DOCS = Path(__file__).parent.parent / "docs"
METHOD_KINDS = staticmethod | classmethod
GENERATED = "by `python tests/reference.py`."


def cli_page() -> str:
    """Every command's help at 100 columns, as Markdown."""
    parts = [f"# Commands\n\nGenerated from `--help` {GENERATED}\n"]
    for command in ("", *COMMANDS):
        arguments = [command, "--help"] if command else ["--help"]
        runner = CliRunner(env={"SAO_CONFIG": "" if command else None, "XDG_CONFIG_HOME": None})
        done = runner.invoke(main, arguments, prog_name="sao", terminal_width=100, catch_exceptions=False)
        parts.append(f"## `{' '.join(['sao', *arguments[:-1]])}`\n\n```text\n{click.unstyle(done.stdout)}```\n")
    return "\n".join(parts)


def python_page() -> str:
    """Every public name by the topics of the packages' stubs: its module's own words, signature, docstring, members."""
    parts = [f"# Python\n\nThe names of `sao_cli`, each loaded on first use. Generated from docstrings {GENERATED}\n"]
    topics = [(package, *topic) for package in (sao_cli, sao_cli.nets) for topic in _topics(package)]
    parts.append("\n".join(f"- [{title}](#{_anchor(title)})" for _, title, _ in topics) + "\n")
    for package, title, names in topics:
        parts.append(f"## {title}\n")
        prefix, module = "nets." if package is sao_cli.nets else "", None
        for name in names:
            thing = getattr(package, name)
            if inspect.getmodule(thing) is not module:
                module = inspect.getmodule(thing)
                parts.append(f"*{module.__name__.removeprefix('sao_cli.')}: {' '.join(module.__doc__.split())}*\n")
            parts.append(_entry("###", prefix + name, thing))
            parts += _members(prefix + name, thing)
    return "\n".join(parts)


def json_page() -> str:
    """Every key of every record: its type, meaning, and unit or equation, as the reports declare them."""
    about = """Reports are lines of strict JSON, one object each; on a terminal a table shows the same. A record
always has all of its keys (but for Built, which tells what its construction does), and null says that something is
not known or has no meaning; `reason` says why."""
    parts = [f"# JSON\n\n{about}\n\nGenerated from the declarations of `sao_cli.reports` {GENERATED}\n"]
    parts.append(f"## Every line\n\n{_about(LineHead)}\n\n{_keys(LineHead)}")
    told = [kind for kind in kinds() if kind.record]
    parts.append("## Records\n")
    parts += [f"### {kind.__name__}\n\nA `{kind.record}`. {_about(kind)}\n\n{_keys(kind)}" for kind in told]
    inside = {word for kind in told for words in json_types(kind).values() for word in words}
    inside |= {word for kind in told for one in facts_of(kind).values() for word in one.meaning.split()}
    parts.append("## Parts of records\n")
    inner = [kind for kind in kinds() if kind.__name__ in inside and not kind.record]
    parts += [f"### {kind.__name__}\n\n{_about(kind)}\n\n{_keys(kind)}" for kind in inner]
    return "\n".join(parts)


def _about(kind) -> str:
    return inspect.getdoc(kind).replace("`None`", "null").replace("None", "null")


def _keys(kind) -> str:
    lines = ["| key | type | meaning | unit or equation |", "| --- | --- | --- | --- |"]
    for key, types in json_types(kind).items():
        told = facts_of(kind)[key]
        words = " or ".join(f"[{word}](#{word.lower()})" if word[0].isupper() else word for word in types)
        unit = f"`{told.unit}`" if told.unit else ""
        cells = [f"`{key}`", words, told.meaning, unit]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _topics(package) -> list[tuple[str, list[str]]]:
    """(heading, names) in the order of the stub, whose comments are the headings; a package is no name to document."""
    stub = Path(package.__file__).with_suffix(".pyi").read_text()
    blocks = re.findall(r"^# (.+)\n((?:from .*\n)+)", stub, flags=re.MULTILINE)
    suffix = " (`sao_cli.nets`)" if package is sao_cli.nets else ""
    found = [(title + suffix, re.findall(r" as (\w+)$", lines, flags=re.MULTILINE)) for title, lines in blocks]
    return [(title, names) for title, names in found if not inspect.ismodule(getattr(package, names[0]))]


def _anchor(title: str) -> str:
    """The fragment that readers of Markdown give a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


KERNELS = {  # by the name in the table: what build_kernel makes it of
    "delta": {"scheme": "delta"},
    "SAO-delta": {"scheme": "delta", "d": 4},
    "delta, k = 2": {"scheme": "delta", "size": 2},
    "ECO": {"scheme": "eco"},
    "SAO-ECO": {"scheme": "eco", "d": 4},
    "ECO, k = 2": {"scheme": "eco", "size": 2},
    "SOC, 5 terms": {"scheme": "soc", "terms": 5},
    "SAO-SOC, 5 terms": {"scheme": "soc", "terms": 5, "d": 4},
    "normal": {"scheme": "normal"},
}
GEOMETRIES = {
    "n = 9": {"image": 9},
    "n = 9, dilation 3": {"image": 9, "dilation": 3},
    "n = 10, dilation 3": {"image": 10, "dilation": 3},
    "n = 12, stride 2": {"image": 12, "stride": 2},
    "zeros, n = 9": {"image": 9, "padding": "zeros"},
    "same, n = 12, stride 2": {"image": 12, "padding": "same", "stride": 2},
    "valid, n = 9": {"image": 9, "padding": "valid"},
    "reflect, n = 9": {"image": 9, "padding": "reflect"},
}


def convolutions_page() -> str:
    """docs/convolutions.md with its table measured anew: the singular values of each kernel in each geometry."""
    rows = [["8 channels", *GEOMETRIES], ["---"] * (len(GEOMETRIES) + 1)]
    for name, asked in KERNELS.items():
        kernel = sao_cli.build_kernel(8, 8, asked.get("size", 3), **{key: asked[key] for key in asked if key != "size"})
        found = [sao_cli.kernel_spectrum(kernel, **geometry) for geometry in GEOMETRIES.values()]
        rows.append([name, *(_range(one.sigma_min, one.sigma_max) for one in found)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, _, rest = (DOCS / "convolutions.md").read_text().partition("<!-- measured -->\n")
    return f"{before}<!-- measured -->\n{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"


def _range(low: float, high: float) -> str:
    if (error := max(abs(low - 1), abs(high - 1))) < 1e-2:
        return "all 1" if error < 1e-9 else f"1 ± {error:.1g}"
    return f"{0 if low < 1e-9 else low:.2g} to {high:.2g}"


def _members(name, thing) -> list[str]:
    """A class's properties as one list, and its methods, each where it says something of its own; in source order."""
    if not inspect.isclass(thing):
        return []
    if issubclass(thing, sao_cli.Report) and thing is not sao_cli.Report:
        hidden = {item.name: item.metadata["fact"].meaning for item in fields(thing) if not item.repr}
        listed = "".join(f"- `{key}`: {meaning}\n" for key, meaning in hidden.items())
        keys = f"[its keys in JSON](json.md#{thing.__name__.lower()})"
        return [f"Its fields are {keys}{', and:' if hidden else '.'}\n{listed}"]
    own = {key: value for key, value in vars(thing).items() if not key.startswith("_") and inspect.getdoc(value)}
    properties = [key for key, value in own.items() if isinstance(value, property | functools.cached_property)]
    listed = "".join(f"- `{key}`: {' '.join(inspect.getdoc(own[key]).split())}\n" for key in properties)
    methods = [key for key, value in own.items() if inspect.isfunction(value) or isinstance(value, METHOD_KINDS)]
    return [listed] * bool(listed) + [_entry("####", f"{name}.{key}", own[key]) for key in methods]


def _entry(level, name, thing) -> str:
    """One name: its signature as typed, and its docstring; the keys of reports stand in their docstrings."""
    function = getattr(thing, "__func__", thing)
    if inspect.isclass(function) and not issubclass(function, sao_cli.Report):
        function = function.__init__
    typed = f"{_signature(name, function)}\n" if inspect.isfunction(function) else ""
    return f'{level} `{name}`\n\n```python\n{typed}"""{inspect.getdoc(thing)}"""\n```\n'


def _signature(name, function) -> str:
    """name(parameter: type = default, ...) -> type, on one line where 100 columns hold it."""
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    shown, kinds = [_parameter(one) for one in parameters], [one.kind for one in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    given = signature.return_annotation
    result = "" if given in (signature.empty, None, "None") else f" -> {_type(given)}"
    line = f"{name.rpartition('.')[2]}({', '.join(shown)}){result}"
    return line if len(line) <= 100 else line[: line.index("(")] + "(\n    " + ",\n    ".join(shown) + f",\n){result}"


def _parameter(one) -> str:
    typed = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
    default = "" if one.default is one.empty else f"{' = ' if typed else '='}{_default(one.default)}"
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    return f"{stars}{one.name}{typed}{default}"


def _default(value) -> str:
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":  # dataclasses' mark of a default that is made anew
        return "..."
    return value.__name__ if inspect.isfunction(value) or inspect.isclass(value) else repr(value)


def _type(annotation) -> str:
    """An annotation in the words of its source, without modules' paths."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", text.strip("'"))


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page())
    (DOCS / "python.md").write_text(python_page())
    (DOCS / "json.md").write_text(json_page())
    (DOCS / "convolutions.md").write_text(convolutions_page())
