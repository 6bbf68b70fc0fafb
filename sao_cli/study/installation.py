"""What an installation has and lacks, each thing looked at by itself, so that none hides another."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import sao_cli
from sao_cli.base.memory import available_memory, format_bytes
from sao_cli.base.names import Row, load, table
from sao_cli.base.threads import THREAD_VARIABLES
from sao_cli.catalog import DATA, DataSet
from sao_cli.reports.frames import Reports
from sao_cli.reports.installations import BROKEN, FINE, MISSING, NOTE, Finding

PACKAGE = "sao-cli"
EXTRAS = table(
    Row("train", "the digits, which `sao train` begins with"),
    Row("vision", "`sao train --download`, cinic10, and data in torchvision's own form"),
    Row("heavy-tail", "`sao audit --heavy-tail`"),
    Row("fast", "verdicts on masks of a million ones and more sooner, by compiled sums of the same bits"),
    Row("cluster", "`--cluster`: work on the machines of a Dask scheduler"),
)
DEVELOPERS = ("test", "dev", "bench")  # extras that no command needs
NEEDED = ("package", "linear algebra")  # topics without which sao does nothing
_FIRST = {  # by what reads them, a file that lies in a folder of the data
    "read_mnist": "train-images-idx3-ubyte*",
    "read_cifar10": "data_batch_1.bin",
    "read_cifar100": "train.bin",
}
_SIDE = 64  # of the matrix that linear algebra is tried on

Check = Callable[[], Iterator[Finding]]


def doctor(data_folder: str | None = None) -> Reports[Finding]:
    """What is there and what is missing: sao and Python, the packages that sao needs, those of its extras, linear
    algebra and its threads, devices, and the data that are in `data_folder`.

    Each is looked at by itself, and none raises: what fails is a Finding that says how. Packages that sao needs are
    loaded, which takes some seconds; those of extras are looked up by their versions alone.

    >>> {one.status for one in doctor() if one.topic == "package"}
    {'fine'}
    """
    checks: dict[str, Check] = {
        "program": _program,
        "package": _packages,
        "extra": _extras,
        "linear algebra": _linear_algebra,
        "device": _devices,
        "data": lambda: _data(data_folder),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages, on each other
        return Reports(one for topic, check in checks.items() for one in careful(topic, check))


def careful(topic: str, check: Check) -> Iterator[Finding]:
    """What a check finds; where it fails, that as the last finding."""
    try:
        yield from check()
    except Exception as error:
        status = BROKEN if topic in NEEDED else NOTE
        yield Finding(
            topic=topic, name=topic, status=status, found=f"can't be told: {type(error).__name__}: {error}"[:500]
        )


class _Requirement(NamedTuple):
    """A package, its least version ("" where any does), and the extra that asks for it ("" where all do)."""

    name: str
    least: str
    extra: str


def _program() -> Iterator[Finding]:
    yield Finding(
        topic="program", name="sao", status=FINE, found=f"{sao_cli.__version__} in {Path(sao_cli.__file__).parent}"
    )
    python = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    yield Finding(topic="program", name="python", status=FINE, found=python)
    yield Finding(topic="program", name="system", status=FINE, found=platform.platform())
    yield Finding(topic="program", name="memory", status=FINE, found=f"{format_bytes(available_memory())} free")
    folder = Path(sys.executable).parent
    there, own = shutil.which("sao"), shutil.which("sao", path=str(folder))
    remedy = f"export PATH={folder}:$PATH" if own is not None else None
    if there is None:
        yield Finding(topic="program", name="PATH", status=NOTE, found="no sao on it", remedy=remedy)
    elif own is not None and not Path(own).samefile(there):
        told = f"{there}, which is not that of this Python, {own}"
        yield Finding(topic="program", name="PATH", status=NOTE, found=told, remedy=remedy)
    else:
        yield Finding(topic="program", name="PATH", status=FINE, found=there)


def _requirements() -> list[_Requirement]:
    told = [
        re.match(r"([\w.-]+)\s*(?:>=\s*([\w.]+))?.*?(?:extra == .([\w-]+))?.?$", line)
        for line in metadata.requires(PACKAGE) or ()
    ]
    return [_Requirement(one[1], one[2] or "", one[3] or "") for one in told if one]


def _packages() -> Iterator[Finding]:
    for one in _requirements():
        if not one.extra:
            yield _package(one)


def _package(one: _Requirement) -> Finding:
    """A package that sao needs, loaded."""
    remedy = f"pip install '{one.name}>={one.least}'" if one.least else f"pip install {one.name}"
    told: dict[str, Any] = {"topic": "package", "name": one.name}
    version = _version(one.name)
    if version is None:
        return Finding(**told, status=BROKEN, found=None, remedy=remedy)
    if _is_older(version, one.least):
        return Finding(**told, status=BROKEN, found=f"{version}, and sao needs {one.least}", remedy=remedy)
    try:
        importlib.import_module(one.name)
    except Exception as error:
        said = f"{version}, which can't be loaded: {type(error).__name__}: {error}"[:500]
        return Finding(**told, status=BROKEN, found=said, remedy=f"pip install --force-reinstall {one.name}")
    return Finding(**told, status=FINE, found=version)


def _extras() -> Iterator[Finding]:
    for one in _requirements():
        if one.extra not in EXTRAS:
            continue
        version = _version(one.name)
        old = version is not None and _is_older(version, one.least)
        absent = version is None or old
        yield Finding(
            topic="extra",
            name=f"{one.extra}: {one.name}",
            status=MISSING if absent else FINE,
            found=f"{version}, and it takes {one.least}" if old else version,
            needed_for=EXTRAS[one.extra].line,
            remedy=f"pip install '{PACKAGE}[{one.extra}]'" if absent else None,
        )
    version = _version("pandas")
    yield Finding(
        topic="extra",
        name="pandas",
        status=MISSING if version is None else FINE,
        found=version,
        needed_for="to_frame() of reports, in Python",
        remedy="pip install pandas" if version is None else None,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_older(version: str, least: str) -> bool:
    """Whether a version comes before another, by their numbers.

    >>> _is_older("2.9.1", "2.10"), _is_older("2.10.0+cpu", "2.10"), _is_older("3", "")
    (True, False, False)
    """
    own, other = (tuple(map(int, re.findall(r"\d+", one.partition("+")[0]))) for one in (version, least))
    width = max(len(own), len(other))
    return own + (0,) * (width - len(own)) < other + (0,) * (width - len(other))


def _linear_algebra() -> Iterator[Finding]:
    import numpy as np
    import scipy.linalg
    from threadpoolctl import threadpool_info

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told: dict[str, Any] = {"topic": "linear algebra"}
    yield Finding(**told, name="cores", status=FINE, found=f"{cores} that this process may use")
    for one in threadpool_info():
        if one["user_api"] not in ("blas", "openmp"):  # as scipy's reader of Matrix Market, whose version is a function
            continue
        threads = one["num_threads"]
        found = ", ".join(filter(None, (one["version"], f"{threads} threads", one["filepath"])))
        many = f"--threads {cores}; more threads than cores wait for each other" if threads > cores else None
        yield Finding(**told, name=one["internal_api"], status=NOTE if many else FINE, found=found, remedy=many)
    for name in THREAD_VARIABLES:
        if (value := os.environ.get(name)) is not None:
            yield Finding(**told, name=name, status=NOTE, found=value)
    for name, svd in (("numpy", np.linalg.svd), ("scipy", scipy.linalg.svd)):
        values = svd(np.ones((_SIDE, _SIDE)), compute_uv=False)  # known: the side once, and zeros
        error = max(abs(float(values[0]) - _SIDE), float(values[1]))
        right = error < 1e-9
        found = f"singular values right within {error:.1g}" if right else f"singular values wrong by {error:.3g}"
        remedy = None if right else f"pip install --force-reinstall {name}"
        yield Finding(**told, name=f"{name}'s", status=FINE if right else BROKEN, found=found, remedy=remedy)


def _devices() -> Iterator[Finding]:
    for name, status, found in load("nets.devices:described_devices")():
        yield Finding(topic="device", name=name, status=status, found=found)


def _data(folder: str | None) -> Iterator[Finding]:
    if folder is not None and not Path(folder).is_dir():
        yield Finding(topic="data", name="--data-folder", status=MISSING, found=f"{folder!r} is no folder")
    for row in DATA.values():
        found = _place(row, folder)
        yield Finding(
            topic="data",
            name=row.name,
            status=FINE if found else MISSING,
            found=found,
            needed_for=f"--data {row.name}: {row.line}",
            remedy=None if found else _way_to(row, folder),
        )


def _place(row: DataSet, folder: str | None) -> str | None:
    """Where the data are; None where they are not."""
    if row.bundled:
        version = _version("scikit-learn")
        return None if version is None else f"in scikit-learn {version}"
    if folder is None:
        return None
    parts = [part for part in (row.place, row.pickled) if part] or ["train"]
    below = [str(Path(folder) / part) for part in parts if (Path(folder) / part).is_dir()]
    first = _FIRST.get(row.home.partition(":")[2])
    own = [folder] if first is not None and any(Path(folder).glob(first)) else []
    return next(iter(below + own), None)


def _way_to(row: DataSet, folder: str | None) -> str:
    if row.bundled:
        return f"pip install '{PACKAGE}[train]'"
    place = folder or "FOLDER"
    if row.vision:
        return f"sao train --data {row.name} --data-folder {place} --download, which takes the extra vision"
    return f"unpack it into {place} with its folders train and test, and name that by --data-folder"
