"""Public names that load on first use (PEP 562), so that a process pays only for what it needs."""

import functools
import importlib
import re
import sys
from collections.abc import Callable
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of `package`, whose `__init__.py` is `file`.

    Which names there are, and where each lives, is told once, in the stub `__init__.pyi` beside it, which type checkers
    read too (as scientific Python's SPEC 1 has it): a line `from MODULE import NAME as NAME` each. It is read when the
    first name is asked for.
    """

    @functools.cache
    def homes() -> dict[str, str]:
        with open(f"{file}i", encoding="utf-8") as stub:
            lines = re.findall(r"^from (\S+) import (\w+) as \2$", stub.read(), flags=re.MULTILINE)
        return {name: home for home, name in lines}

    def names() -> list[str]:
        return [] if _is_for_help() else sorted(homes())

    def load(name: str) -> Any:
        if name == "__all__" and not _is_for_help():
            return names()
        if name.startswith("__") or name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if (home := homes()[name]) == package:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(home), name)

    return load, names


def _is_for_help() -> bool:
    """Whether pydoc asks: what help() makes of all names would be ten thousand lines, and load all that they need."""
    frame, callers = sys._getframe(2), []
    for _ in range(3):  # pydoc asks by inspect.getmembers, or for an attribute itself
        callers.append(frame.f_globals.get("__name__"))
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "pydoc" in callers
