"""What CI tries with the lowest versions: they are those that pyproject.toml allows, and no file has moved away."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_lowest_versions_are_those_that_pyproject_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    allowed = [*project["dependencies"], *extras["train"], *extras["heavy-tail"]]
    stated = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    assert [line for line in stated if not line.startswith("#")] == [
        one.replace(">=", "==") for one in allowed if not one.startswith("torch>=")
    ]


def test_every_room_is_tried_with_them():
    tried = re.findall(r"tests/[\w/]+\.py", (ROOT / ".ci" / "run").read_text())
    assert [name for name in tried if not (ROOT / name).is_file()] == []
    rooms = {_room(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")}
    assert {_room(Path(name)) for name in tried} == rooms


def _room(file):
    """The first folder below tests/, or tests/ itself."""
    return file.parts[1] if len(file.parts) > 2 else ""
