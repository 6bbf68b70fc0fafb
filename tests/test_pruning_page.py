"""docs/pruning.md: its code prints what the page says that it prints, and its pipe runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "pruning.md").read_text()
BIN = Path(sys.executable).parent


def test_the_page_prints_what_it_says_and_its_pipe_runs(tmp_path):
    blocks = re.findall(r"```(python|text|sh)\n(.*?)```", PAGE, flags=re.DOTALL)
    code, said, shell = ("".join(text for kind, text in blocks if kind == name) for name in ("python", "text", "sh"))
    told = {"capture_output": True, "text": True, "check": False, "cwd": tmp_path}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], **told)
    assert (done.stdout, done.stderr) == (said, "")
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    piped = subprocess.run(["bash", "-o", "pipefail", "-e", "-c", shell], env=env, **told)
    assert piped.returncode == 0, piped.stderr
