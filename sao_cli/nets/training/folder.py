"""The folder of a training run: its settings, its rows, what it goes on from, and the trained network."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sao_cli import __version__
from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.io.checkpoints import Lazy, write_checkpoint
from sao_cli.io.checkpoints.checkpoint import RUN_FILES
from sao_cli.io.formats.safetensors_files import SafetensorsFile
from sao_cli.io.output import atomic_output, naming_output, shown
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.reports.networks import EpochRow
from sao_cli.reports.report import plain, report_line

if TYPE_CHECKING:  # what reads a run's settings loads no torch
    from sao_cli.nets.training.loop import Training

SETTINGS, METRICS, LAST, FINAL = RUN_FILES


class RunFolder:
    """A folder `path` for one run.

    `settings.json` are its settings. After each epoch `last.safetensors` replaces, atomically, the one before, and
    `metrics.jsonl` gets a line: the checkpoint holds all rows, so that a run killed at any moment loses the epoch in
    progress at most. `final.safetensors` is the trained network alone.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._kept = -1  # the epoch in `last.safetensors`

    def require_free(self) -> None:
        """Raise FileError where a run is here already, or where no folder can be made."""
        there = [name for name in (SETTINGS, METRICS, LAST, FINAL) if (self.path / name).exists()]
        if there:
            raise FileError(
                f"{self._shown()} holds a run ({there[0]}); --resume goes on with it, or name another folder"
            )
        for folder in (self.path, *self.path.parents):
            if folder.exists() and not folder.is_dir():
                raise FileError(f"{str(folder)!r} is a file, and -o names a folder; choose another name")

    def begin(self, settings: TrainingSettings, data_folder: str | None) -> None:
        """Make the folder, and write the settings."""
        with self._naming():
            self.path.mkdir(parents=True, exist_ok=True)
        told = {"command": "train", "version": __version__, "data_folder": data_folder, "settings": settings.to_dict()}
        with atomic_output(self.path / SETTINGS) as file:
            file.write((json.dumps(plain(told), indent=1, allow_nan=False) + "\n").encode())

    def settings(self) -> tuple[TrainingSettings, str | None]:
        """The settings of the run that is here, and the folder of its data. Raises FileError where there is none."""
        try:
            told = json.loads((self.path / SETTINGS).read_bytes())
            return TrainingSettings.from_dict(told["settings"]).resolved(), told.get("data_folder")
        except FileNotFoundError as error:
            raise FileError(f"{self._shown()} holds no run: it has no {SETTINGS}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FormatError(
                f"{self._shown()}: {SETTINGS} can't be read: {reason}; begin a new run elsewhere"
            ) from error

    def restore(self, training: Training) -> None:
        """Put `training` where the run's last epoch left it; the beginning, where it had not finished epoch 0."""
        from sao_cli.nets.training.resume import read_rows

        for aside in self.path.glob(".sao-*.part"):  # what a killed process was writing
            with contextlib.suppress(OSError):
                aside.unlink()
        if not (self.path / LAST).exists():
            return
        file = SafetensorsFile(self.path / LAST)
        tensors = {name: file.read(name) for name in file.stored}
        try:
            training.restore(tensors, read_rows(file.metadata))
            self._kept = len(training.rows) - 1
        except FormatError as error:
            raise FormatError(f"{self._shown(LAST)}: {error}") from error

    def epochs(self, training: Training) -> Iterator[EpochRow]:
        """The rows of the epochs to come, each written when it is there; at the end, the trained network."""
        from sao_cli.nets.training.resume import final_tensors

        with atomic_output(self.path / METRICS) as file:  # a killed process may have left out a line
            file.writelines(self._line(row, training) for row in training.rows)
        for row in self._learning(training):
            state = training.state()
            write_checkpoint(state.tensors, self.path / LAST, state.metadata)
            self._kept = row.epoch
            with self._naming(METRICS), (self.path / METRICS).open("ab") as file:
                file.write(self._line(row.to_dict(), training))
            yield row
        told = json.dumps(training.settings.to_dict(), allow_nan=False)
        made = {name: Lazy(*one) for name, one in final_tensors(training.model).items()}
        write_checkpoint(made, self.path / FINAL, {"sao": __version__, "settings": told})

    def _learning(self, training: Training) -> Iterator[EpochRow]:
        """The epochs of `training`; a DivergedError says which one is kept."""
        from sao_cli.nets.training.loop import DivergedError

        try:
            yield from training.epochs()
        except DivergedError as error:
            kept = f"; epoch {self._kept} is kept in {self._shown(LAST)}" if self._kept >= 0 else ""
            raise DivergedError(f"{error}{kept}") from error

    def to_go_on(self, epochs: int) -> str:
        """What is kept of a run of so many epochs that is ended before its time, and how it goes on; "" of nothing."""
        if self._kept < 0:
            return ""
        return f"epoch {self._kept} of {epochs} is kept; `sao train --resume -o {self.path}` goes on"

    def _line(self, row: dict[str, Any], training: Training) -> bytes:
        told = report_line({"record": EpochRow.record} | row, "train", training.settings.seed)  # old runs have none
        return (json.dumps(plain(told), allow_nan=False) + "\n").encode()

    def _naming(self, name: str = "") -> AbstractContextManager[None]:
        return naming_output(self._shown(name))

    def _shown(self, name: str = "") -> str:
        return shown(os.fspath(self.path / name))


def require_same(asked: dict[str, Any], settings: TrainingSettings) -> None:
    """Raise SaoError where an option that was given is not what the run to resume has."""
    for name, value in asked.items():
        has = getattr(settings, name)
        if value != has:
            option = f"--{name.replace('_', '-')}"
            raise SaoError(f"{option} {value}: the run to resume has {has}; leave it out, or begin another with -o")
