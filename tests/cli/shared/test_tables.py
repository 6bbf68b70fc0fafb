"""Tables that fit their terminal: nothing of a heading or a number is cut, and what is left out is said."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest

from sao_cli import sao_mask, write_masks
from sao_cli.cli.shared.forms import ascii_only
from sao_cli.cli.shared.tables import Drawing, layout, markdown_table, terminal_table
from sao_cli.io.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "m.safetensors"
    dense = np.random.default_rng(1).normal(size=(48, 32))
    write_checkpoint({"encoder.0.weight": dense, "encoder.1.weight": sparse()}, path)
    return path


def sparse():
    rng = np.random.default_rng(0)
    return rng.normal(size=(48, 48)) * (rng.random((48, 48)) < 0.05)


def on_terminal(width, *arguments, **env):
    """stdout and stderr of `sao` on a terminal of so many columns, as it shows them."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LANG", "LC_ALL", "LC_CTYPE")}
    env = own | {"TERM": "xterm", "NO_COLOR": "1", "LANG": "C.UTF-8"} | env
    run = [sys.executable, "-m", "sao_cli", *map(str, arguments)]
    process = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=there, stderr=there, env=env)
    os.close(there)
    told = b""
    while part := read(here):
        told += part
    process.wait()
    os.close(here)
    return process.returncode, re.sub("sao.*\r *\r", "", told.decode().replace("\r\n", "\n"))


def read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(
    ("width", "there"), [(40, "name sparsity"), (80, "dead_inputs outputs sigma_max"), (200, "ks.pvalue components █")]
)
def test_an_audit_shows_what_decides_at_any_width(model, width, there):
    code, told = on_terminal(width, "audit", model)
    table, _, said = told.partition("sao audit: ")
    assert code == 0
    assert all(len(line) <= width for line in table.splitlines())
    words = table.replace("█", " █ ").split()
    assert set(there.split()) <= set(words)
    assert f"{1 - np.count_nonzero(sparse()) / 48**2:.6g}" in words
    assert "\x1b" not in told
    found = re.findall(r"\d+ columns are left out for want of room \(shape, .*\); --columns picks", said)
    assert len(found) == (width < 200)


def test_a_terminal_without_room_for_a_table_has_its_verdict(tmp_path):
    write_masks([sao_mask(16, 16, 4)] * 2, tmp_path / "m.mtx")
    code, told = on_terminal(40, "verify", tmp_path / "m.mtx", "-q")
    assert code == 0
    assert {"lambda_2_", "distinct", "bound", "holds"} <= set(told.split())
    assert told.count("yes") == 2


@pytest.mark.parametrize("width", range(20, 130, 7))
def test_no_heading_and_no_number_is_cut(width):
    rows = [
        {
            "name": "a" * 30,
            "lambda_2_distinct": 1.234567,
            "empty": None,
            "big": 123456789012,
            "text": "some words here",
        },
        {"name": "b", "lambda_2_distinct": -1.5e-300, "empty": None, "big": 1, "text": ""},
    ]
    told = layout(rows, ())
    text, left_out = terminal_table(told, ("text",), width, colours=False)
    assert all(len(line) <= max(width, 26) for line in text.splitlines())
    words = set(text.split())
    for key, values in {
        "lambda_2_distinct": {"lambda_2_", "distinct", "1.23457", "-1.5e-300"},
        "big": {"big", "123456789012"},
    }.items():
        assert (values <= words) == (key not in left_out)
    assert not left_out or left_out[0] in ("empty", "lambda_2_distinct", "big", "text")
    assert "empty" in left_out or not left_out


def test_columns_without_a_value_go_first_then_those_to_spare_then_the_last():
    row = {"first": 1, "none": None, "second": 22, "third": 333, "list": []}
    told = layout([row, row], ())
    left = [terminal_table(told, ("second",), width, colours=False)[1] for width in range(40, 5, -1)]
    stages = [one for one, before in zip(left, [None, *left], strict=False) if one != before]
    assert stages == [
        [],
        ["none"],
        ["none", "list"],
        ["none", "second", "list"],
        ["none", "second", "third", "list"],
    ]


def test_what_is_asked_for_stands_in_that_order_without_lines():
    rows = [{"record": "layer", "a": 1, "b": {"c": 2}}, {"record": "summary", "summary": True, "a": 3, "of": {}}]
    assert layout(rows, ("a",)).lines == [{"a": 3}]
    told = layout(rows, ("a",), ("b.c", "a", "record"))
    assert told.columns == ["b.c", "a", "record"]
    assert not told.lines
    assert markdown_table(told).splitlines()[2:] == ["| b.c | 2 |", "| a | 1 |", "| record | layer |"]


def test_markdown_escapes_what_would_end_a_cell():
    drawing = Drawing(" ▁█", "0 | █")
    text = markdown_table(
        layout([{"a": "x|y\n", "b": drawing}, {"a": None, "b": drawing}, {"summary": True, "n": 2}], ())
    )
    assert text == "| a | b |\n| --- | --- |\n| x\\|y\\\\n | ` ▁█` |\n| - | ` ▁█` |\n\nn: 2\n"


def test_a_drawing_that_is_too_wide_for_one_row_is_the_small_one():
    told = layout([{"values": Drawing("small", "a large one | ###################")}], ())
    assert "large" in terminal_table(told, (), 80, colours=False)[0]
    assert "small" in terminal_table(told, (), 40, colours=False)[0]


@pytest.mark.parametrize(
    ("env", "plain"),
    [
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8", "LC_CTYPE": "C.UTF-8"}, False),
        ({}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, True),
    ],
)
def test_blocks_need_a_locale_and_a_terminal_that_have_them(monkeypatch, env, plain):
    for name in ("LANG", "LC_ALL", "LC_CTYPE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    assert ascii_only() == plain
    sys.stdout.close()


def test_nothing_but_ascii_where_the_locale_has_no_more(model):
    code, told = on_terminal(200, "audit", model, LANG="C")
    assert code == 0
    assert told.isascii()
    assert "---" in told
    assert "@" in told
