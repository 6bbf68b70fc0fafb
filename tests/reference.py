"""The generated pages of docs/: cli.md from --help, python.md from docstrings, and the table of convolutions.md.

Run it to write them.
"""

import inspect
import re
from pathlib import Path

import click
from click.testing import CliRunner

import sao_cli
from sao_cli.cli import COMMANDS, main

DOCS = Path(__file__).parent.parent / "docs"
GENERATED = "by `python tests/reference.py`."


def cli_page() -> str:
    """Every command's help at 100 columns, as Markdown."""
    parts = [f"# Commands\n\nGenerated from `--help` {GENERATED}\n"]
    for command in ("", *COMMANDS):
        arguments = [command, "--help"] if command else ["--help"]
        done = CliRunner().invoke(main, arguments, prog_name="sao", terminal_width=100, catch_exceptions=False)
        parts.append(f"## `{' '.join(['sao', *arguments[:-1]])}`\n\n```text\n{click.unstyle(done.stdout)}```\n")
    return "\n".join(parts)


def python_page() -> str:
    """Every public name's signature and docstring, those of `Mask`'s, `Matrix`'s and `Kernel`'s members, and `nets`."""
    parts = [f"# Python\n\nThe names of `sao_cli`, each loaded on first use. Generated from docstrings {GENERATED}\n"]
    for name in sao_cli.__all__:
        thing = getattr(sao_cli, name)
        if callable(thing):
            parts.append(_entry("##", name, thing))
        if thing in (sao_cli.Mask, sao_cli.Matrix, sao_cli.Kernel):
            parts += [_entry("###", f"{name}.{key}", member) for key, member in _members(thing)]
    parts.append("# `sao_cli.nets`: for torch\n")
    parts += [_entry("##", f"nets.{name}", getattr(sao_cli.nets, name)) for name in sao_cli.nets.__all__]
    return "\n".join(parts)


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


def _members(cls):
    documented = [(key, value) for key, value in vars(cls).items() if not key.startswith("_")]
    return [(key, value) for key, value in documented if inspect.getdoc(value) and hasattr(cls, key)]


def _entry(level, name, thing) -> str:
    function = getattr(thing, "__func__", thing)
    signature = _signature(function) if inspect.isfunction(function) else ""
    return f"{level} `{name}{signature}`\n\n```text\n{inspect.getdoc(thing)}\n```\n"


def _signature(function) -> str:
    """Names and defaults, without annotations, of which docstrings tell more."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    bare = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return re.sub(r"<(?:class|function) '?(?:\w+\.)*(\w+)[^>]*>", r"\1", bare)


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page())
    (DOCS / "python.md").write_text(python_page())
    (DOCS / "convolutions.md").write_text(convolutions_page())
