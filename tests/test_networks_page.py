"""docs/networks.md: its code prints what the page says that it prints."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "networks.md").read_text()


def test_the_page_prints_what_it_says():
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL)
    code = "".join(text for kind, text in blocks if kind == "python")
    said = "".join(text for kind, text in blocks if kind == "text")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (said, "")
