"""Two thousand damaged files through the commands: exit codes 0, 1 and 2, no traceback, no control character."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FILES = 2000
PEAK = 1 << 30  # bytes, of which torch takes a quarter before it reads anything


def test_no_damaged_file_does_more_than_fail():
    pytest.importorskip("torch")
    fuzzer = Path(__file__).with_name("file_fuzzer.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", fuzzer, "0", str(FILES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *wrong, summary = done.stdout.splitlines()
    assert not wrong, "\n".join(wrong)
    told = json.loads(summary)
    assert told["wrong"] == 0
    assert told["peak"] < PEAK
    suffixes = {".mtx", ".mtx.gz", ".npz", ".npy", ".safetensors", ".pt", ".index.json"}
    assert {key.split()[0] for key in told["codes"]} == suffixes
    assert sum(told["codes"].values()) == FILES
    survived = sum(times for key, times in told["codes"].items() if not key.endswith(" 2"))
    assert survived > FILES // 10  # what is not noticed is measured, and must be measured without harm
