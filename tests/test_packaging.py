"""What is published: a source archive that builds the wheel, which carries all files, and works without the tree."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import sao_cli

ROOT = Path(sao_cli.__file__).parent.parent
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILT = "import sys, setuptools.build_meta as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"


def package_files():
    found = [path for path in (ROOT / "sao_cli").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in found}


def built(kind, folder, out):
    done = subprocess.run([sys.executable, "-c", BUILT, kind, str(out)], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return out / done.stdout.decode().split()[-1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The source archive, made of the tree, and the wheel, made of that archive."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("package")
    for name in ("README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "sao_cli", folder / "sao_cli", ignore=shutil.ignore_patterns("__pycache__"))
    source = built("build_sdist", folder, folder / "out")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    return source, built("build_wheel", unpacked, folder / "out")


def test_both_archives_carry_every_file_of_the_package(archives):
    source, wheel = archives
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() | {"README.md", "LICENSE", "pyproject.toml"} <= names
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith("sao_cli/")} == package_files()
    assert {"sao_cli/py.typed", "sao_cli/__init__.pyi", "sao_cli/pages/audit.js"} <= names


def test_the_metadata_is_whole(archives):
    with zipfile.ZipFile(archives[1]) as archive:
        [name] = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        told = archive.read(name).decode()
        points = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    for line in (f"Version: {sao_cli.__version__}", "License-Expression: BSD-3-Clause", "Requires-Python: >=3.11"):
        assert f"\n{line}\n" in told
    assert "Classifier: Typing :: Typed" in told
    assert told.partition("\n\n")[2].strip() == (ROOT / "README.md").read_text().strip()
    assert "sao = sao_cli.cli:main" in points


def test_the_wheel_works_without_the_tree(archives, tmp_path):
    with zipfile.ZipFile(archives[1]) as archive:
        archive.extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "SAO": f"{sys.executable} -m sao_cli"}

    def shell(line):
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, env=environment, capture_output=True, check=False
        )

    where = shell(f"{sys.executable} -c 'import sao_cli; print(sao_cli.__file__, sao_cli.sao_mask(8, 8, 2).nnz)'")
    assert where.stdout.decode().split() == [str(tmp_path / "site/sao_cli/__init__.py"), "16"]
    for line in (
        "$SAO mask --m 16 --n 16 --d 4 | $SAO verify --json",
        "$SAO weights --widths 8,8,8 --method dense -o m.safetensors -q && $SAO audit m.safetensors --html page.html",
        "$SAO --version && $SAO explain sparsity",
    ):
        done = shell(line)
        assert done.returncode == 0, done.stderr.decode()
    assert "<script" in (tmp_path / "page.html").read_text()


def test_the_version_stands_in_one_place_and_is_told_alike():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "sao_cli.__version__"}
    assert f"\nversion: {sao_cli.__version__}\n" in (DOCS / "CITATION.cff").read_text()
    headings = re.findall(r"^## (.+)$", (DOCS / "changelog.md").read_text(), flags=re.MULTILINE)
    assert sao_cli.__version__ in headings


def test_the_index_leads_to_every_page():
    index = (DOCS / "index.md").read_text()
    linked = set(re.findall(r"\]\(([\w.]+)\)", index))
    assert {path.name for path in DOCS.iterdir() if path.is_file()} - {"index.md"} == linked
    extras = set(PROJECT["project"]["optional-dependencies"]) - {"test", "dev", "bench"}
    assert set(re.findall(r"sao-cli\[([\w-]+)\]", index)) == extras


def test_the_index_s_five_minutes_run(tmp_path):
    index = (DOCS / "index.md").read_text()
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", index, flags=re.DOTALL))
    script = f"set -e; export PATH={Path(sys.executable).parent}:$PATH; {lines}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "report.html").exists()
