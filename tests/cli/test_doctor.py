"""`sao doctor`: its rows, and the exit code of what is broken."""

from sao_cli.reports.installations import Finding
from sao_cli.study import installation


def test_here_it_exits_with_0(sao_in_process):
    done = sao_in_process("doctor")
    assert (done.code, done.err) == (0, "")
    told = {row["name"]: row for row in done.rows}
    assert {row["record"] for row in done.rows} == {"finding"}
    assert {"python", "torch", "cpu", "digits", "stdout", "encoding", "locale"} <= set(told)
    assert told["NO_COLOR"]["found"] == "1"


def test_what_is_broken_is_named_and_exits_with_1(sao_in_process, monkeypatch):
    broken = Finding(topic="package", name="scipy", status="broken", found=None, remedy="pip install 'scipy>=1.13'")
    monkeypatch.setattr(installation, "doctor", lambda data_folder: [broken])
    done = sao_in_process("doctor", "--json")
    assert done.code == 1
    assert done.err == "sao doctor: scipy is broken: it is not there; pip install 'scipy>=1.13'\n"
    assert done.rows[0]["status"] == "broken"


def test_a_table(sao_in_process):
    done = sao_in_process("doctor", "--table")
    assert done.code == 0
    assert "linear algebra" in done.out
