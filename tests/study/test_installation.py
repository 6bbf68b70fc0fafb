"""What an installation lacks: each thing by itself, and nothing that it is without."""

import io
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import scipy.io

import sao_cli
from sao_cli import doctor
from sao_cli.catalog import DATA
from sao_cli.study import installation
from sao_cli.study.installation import DEVELOPERS, EXTRAS, _is_older, _requirements, careful

PROJECT = Path(sao_cli.__file__).parent.parent / "pyproject.toml"


def by_name(found):
    return {one.name: one for one in found}


def test_here_nothing_is_broken():
    found = doctor()
    assert [one for one in found if one.status == "broken"] == []
    assert [*dict.fromkeys(one.topic for one in found)] == [
        *("program", "package", "extra", "linear algebra", "device", "data")
    ]
    told = by_name(found)
    assert told["numpy"].found == np.__version__
    assert told["sao"].found.startswith(sao_cli.__version__)
    assert all(one.remedy for one in found if one.status == "missing")


def test_requirements_are_those_of_the_project():
    project = tomllib.loads(PROJECT.read_text())["project"]
    told = {one.name: one.least for one in _requirements() if not one.extra}
    assert [f"{name}>={least}" for name, least in told.items()] == project["dependencies"]
    assert {one.extra for one in _requirements()} - {""} == set(project["optional-dependencies"])
    assert set(EXTRAS) | set(DEVELOPERS) == set(project["optional-dependencies"])


@pytest.mark.parametrize(
    ("version", "least", "older"),
    [
        ("2.9.1", "2.10", True),
        ("2.10.0+cpu", "2.10", False),
        ("2.10+cu9", "2.10.1", True),
        ("3", "3.0.0", False),
        ("1.0", "", False),
        ("2024.12.0", "2024.7.1", False),
    ],
)
def test_versions_are_compared_by_numbers(version, least, older):
    assert _is_older(version, least) is older


@pytest.fixture
def version(monkeypatch):
    """version("scipy", "1.0"): that package has that version, or None, is not there."""
    known = metadata.version

    def change(name, told):
        def found(asked):
            if asked != name:
                return known(asked)
            if told is None:
                raise metadata.PackageNotFoundError(name)
            return told

        monkeypatch.setattr(installation.metadata, "version", found)

    return change


def test_a_package_that_is_not_there(version):
    version("scipy", None)
    one = by_name(doctor())["scipy"]
    assert (one.status, one.found, one.remedy) == ("broken", None, "pip install 'scipy>=1.13'")


def test_a_package_that_is_too_old(version):
    version("networkx", "3.1")
    one = by_name(doctor())["networkx"]
    assert (one.status, one.found, one.remedy) == ("broken", "3.1, and sao needs 3.2", "pip install 'networkx>=3.2'")


def test_a_package_that_can_t_be_loaded_hides_no_other(monkeypatch):
    load = installation.importlib.import_module

    def fails(name, *more):
        if name == "safetensors":
            raise ImportError("libx.so is missing")
        return load(name, *more)

    monkeypatch.setattr(installation.importlib, "import_module", fails)
    found = by_name(doctor())
    assert found["safetensors"].status == "broken"
    assert found["safetensors"].found.endswith("which can't be loaded: ImportError: libx.so is missing")
    assert found["threadpoolctl"].status == "fine"


@pytest.mark.parametrize(("told", "status"), [(None, "missing"), ("0.1", "missing"), ("99", "fine")])
def test_an_extra(version, told, status):
    version("powerlaw", told)
    one = by_name(doctor())["heavy-tail: powerlaw"]
    assert one.status == status
    assert one.remedy == ("pip install 'sao-cli[heavy-tail]'" if status == "missing" else None)


def test_libraries_that_are_none_of_linear_algebra_are_left_out():
    scipy.io.mmread(
        io.StringIO("%%MatrixMarket matrix array real general\n1 1\n1\n")
    )  # it registers with threadpoolctl
    assert all(one.status != "broken" for one in doctor())


def test_wrong_linear_algebra_is_broken(monkeypatch):
    right = np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *told, **more: 2 * right(*told, **more))
    one = by_name(doctor())["numpy's"]
    assert (one.status, one.found) == ("broken", "singular values wrong by 64")


def test_what_fails_is_a_finding():
    def fails():
        raise OSError("no such thing")
        yield

    [one] = careful("data", fails)
    assert (one.status, one.found) == ("note", "can't be told: OSError: no such thing")
    assert next(careful("package", fails)).status == "broken"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz"),
        ("mnist", "train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-bin/data_batch_1.bin"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("cifar100", "train.bin"),
        ("cinic10", "train/cat/1.png"),
    ],
)
def test_data_are_found_where_they_are_read(tmp_path, name, file):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    found = by_name(list(installation._data(str(tmp_path))))
    assert found[name].status == "fine"
    assert found[name].found.startswith(str(tmp_path))
    absent = {other for other in DATA if found[other].status == "missing"}
    assert absent == {*DATA} - {"digits", name} - ({"fashion-mnist"} if "/" not in file and name == "mnist" else set())


def test_a_folder_that_is_not_there(tmp_path):
    first = next(iter(installation._data(str(tmp_path / "gone"))))
    assert (first.status, first.found) == ("missing", f"{str(tmp_path / 'gone')!r} is no folder")
