"""The rooms and their doors: who may import whom, and what must not be loaded before it is needed."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import sao_cli

ROOT = Path(sao_cli.__file__).parent
BASICS = {"base", "catalog", "data", "reports"}
ARRAYS = BASICS | {"masks", "pruning", "weights", "measure", "io"}
MAY_IMPORT = {  # room: the rooms that it may know, besides itself
    "base": set(),
    "catalog": {"base"},
    "data": {"base", "catalog"},
    "reports": {"base", "catalog", "data"},
    "measure": BASICS,
    "io": BASICS,
    "masks": BASICS | {"measure"},
    "pruning": BASICS | {"masks", "measure"},
    "weights": BASICS | {"masks", "measure", "pruning"},
    "models": ARRAYS,
    "nets": ARRAYS | {"models"},
    "plots": BASICS | {"io"},
    "pages": BASICS | {"io"},
    "study": ARRAYS | {"models", "nets"},
    "cli": ARRAYS | {"models", "nets", "plots", "pages", "study"},
}
HEAVY = ("torch", "matplotlib", "networkx", "scipy", "rich", "safetensors", "numba", "distributed")
ONLY_ROOM = {"matplotlib": "plots", "torch": "nets"}


def imports(path, top_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


MODULES = [path for path in sorted(ROOT.rglob("*.py")) if room(path) not in ("__init__", "__main__")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    known = {name.split(".")[1] for name in imports(path) if name.startswith("sao_cli.")}
    assert known <= MAY_IMPORT[room(path)] | {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_modules_are_not_imported_at_the_top(path):
    top = {name.split(".")[0] for name in imports(path, top_only=True)}
    allowed = {name for name, home in ONLY_ROOM.items() if home == room(path)}
    assert not top & (set(HEAVY) - allowed)


def test_a_file_s_name_is_its_own_in_the_whole_tree():
    """Commands' files are named by their commands, and packages' by Python."""
    names = [path.name for path in MODULES if room(path) != "cli" and path.name != "__init__.py"]
    assert {name for name in names if names.count(name) > 1} == set()


def imported(path, *, top_only):
    """The modules of the package that `path` names in imports that run: those for type checkers do not."""
    stack = [ast.parse(path.read_text())]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in BY_NAME)
            yield from {node.module} & set(BY_NAME)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in BY_NAME)
        inner = top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not inner and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            stack.extend(ast.iter_child_nodes(node))


BY_NAME = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in MODULES}


@pytest.mark.parametrize("top_only", [True, False], ids=["top", "all"])
def test_no_modules_import_each_other_in_a_cycle(top_only):
    graph = {name: set(imported(path, top_only=top_only)) for name, path in BY_NAME.items()}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which tells the cycle


def test_a_public_class_s_name_is_its_own_in_the_whole_tree():
    names = [
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if room(path) != "cli" and isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert {name for name in names if names.count(name) > 1} == set()


def test_public_names_load_and_are_documented():
    for name in sao_cli.__all__:
        thing = getattr(sao_cli, name)
        assert name == "__version__" or thing.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sao_cli.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import sao_cli", ("numpy", "click", *HEAVY)),
        ("import sao_cli; sao_cli.nets.__all__", HEAVY),
        ("from sao_cli.cli import main; main(['mask', '-o', '/dev/null'])", HEAVY),
        ("from sao_cli.cli import main; main('criticality --activation relu-tau --tau 1 --width 9'.split())", HEAVY),
        ("import sao_cli; sao_cli.expansion(sao_cli.sao_mask(8, 8, 2))", HEAVY),
        ("import sao_cli; sao_cli.reachability([sao_cli.sao_mask(8, 8, 2)])", HEAVY),
        ("import sao_cli.plots, sys; assert 'matplotlib.pyplot' not in sys.modules", ("torch", "networkx", "scipy")),
    ],
)
def test_a_fresh_process_loads_no_more_than_it_needs(code, absent):
    told = f"import sys\ntry:\n    exec({code!r})\nexcept SystemExit: pass\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(absent)


@pytest.mark.parametrize("package", [sao_cli, sao_cli.nets], ids=["sao_cli", "sao_cli.nets"])
def test_no_public_name_is_hidden_by_a_module_of_that_name(package):
    """Importing a submodule sets its name on the package, in the way of what should load lazily under it."""
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert not modules & set(package.__all__)
