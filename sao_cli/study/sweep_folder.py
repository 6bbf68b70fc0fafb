"""The folder of a sweep: what it is a sweep of, and a file for each run that is done."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sao_cli import __version__
from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.io.output import atomic_output, naming_output, shown
from sao_cli.study.sweep_runs import FAILS, HELD, Finished, Run, line_of

SETTINGS, LOCK = "sweep.json", ".lock"


class SweepFolder:
    """A folder `path` for one sweep, which `told` describes: its command, its axes, and what is kept of a run.

    sweep.json says what the sweep is. Each run that is done is a file, `run-0001.jsonl` (or with the suffix of its
    matrices), which appears whole; `run-0001.fails.jsonl` where a check of it failed (exit code 1).
    """

    def __init__(self, path: str, told: dict[str, Any], suffix: str = ".jsonl") -> None:
        self.path = Path(path)
        self._told = {"version": __version__, **json.loads(json.dumps(told))}
        self._suffix = suffix

    @contextlib.contextmanager
    def held(self) -> Iterator[SweepFolder]:
        """Inside it the folder is this process's alone, and the sweep in it is this one.

        Raises FileError where another process works on it, where it holds another sweep, and where it can't be made.
        """
        for folder in (self.path, *self.path.parents):
            if folder.exists() and not folder.is_dir():
                raise FileError(f"{str(folder)!r} is a file, and -o names a folder; choose another name")
        with naming_output(shown(self.path)):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("ab")
        with lock:
            self._lock(lock.fileno())
            for aside in self.path.glob(".sao-*.part"):  # what a killed process was writing
                with contextlib.suppress(OSError):
                    aside.unlink()
            self._begin()
            yield self

    def has(self, run: Run) -> bool:
        """Whether the run is done."""
        return any(self._file(run, code).exists() for code in (HELD, FAILS))

    def count(self, runs: Sequence[Run]) -> int:
        """How many of the runs are done."""
        return sum(map(self.has, runs))

    def keep(self, done: Finished) -> None:
        """Write a run's result, whole or not at all. Raises FileError where the disk is full."""
        with atomic_output(self._file(done.run, done.code)) as file:
            file.writelines([done.stream] if self._suffix != ".jsonl" else map(line_of, done.rows))

    def read(self, run: Run) -> Finished:
        """The result of a run that is kept."""
        code = HELD if (path := self._file(run, HELD)).exists() else FAILS
        path = self._file(run, code)
        try:
            content = path.read_bytes()
            if self._suffix != ".jsonl":
                return Finished(run, code, stream=content)
            return Finished(run, code, tuple(map(json.loads, content.splitlines())))
        except (OSError, ValueError) as error:
            raise FormatError(f"{shown(path)} can't be read ({error}); delete it, and the run is done again") from error

    def _file(self, run: Run, code: int | None) -> Path:
        return self.path / f"run-{run.number:04d}{'.fails' if code == FAILS else ''}{self._suffix}"

    def _lock(self, number: int) -> None:
        """Take the lock, which the system lets go when this process ends, however it ends."""
        try:
            import fcntl
        except ImportError:  # Windows has none
            return
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileError(
                f"another sweep works in {shown(self.path)} now; wait for it, or name another folder"
            ) from None

    def _begin(self) -> None:
        """Write what the sweep is, or see that it is the one that is here."""
        path = self.path / SETTINGS
        try:
            here = json.loads(path.read_bytes())
        except FileNotFoundError:
            with atomic_output(path) as file:
                file.write((json.dumps(self._told, indent=1, allow_nan=False) + "\n").encode())
            return
        except ValueError as error:
            raise FormatError(f"{shown(path)} can't be read ({error}); name another folder") from error
        if here != self._told:
            other = [key for key in self._told if not isinstance(here, dict) or here.get(key) != self._told[key]]
            raise SaoError(
                f"{shown(self.path)} holds another sweep: its {', '.join(other) or 'parts'} differ (see {SETTINGS}); "
                "name another folder"
            )
