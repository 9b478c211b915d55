"""The walls of the house: what may import what, and who may see a config."""

from __future__ import annotations

import ast
import pathlib

import pytest

from tests import places

PACKAGE = places.ROOT / "sadajem_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

METHOD = {
    "energy", "wide_resnet", "batch_norm", "sgld", "replay_buffer", "informative_init",
    "sharpness_aware", "objective", "augment", "randomness", "train_state", "train_step",
    "step_inputs", "micro_batches", "further_terms", "backend",
    "row_groups", "row_parts", "compute_dtype", "forwards",
}  # fmt: skip
# Imports go to the right only. The commands beside main are on top; `console` lies under all.
FLOORS = (
    "sweep",
    "tables",
    "cli",
    "gpu_program",
    "training",
    "evaluation",
    "report",
    "inference",
    "workdir",
    "data",
    "console",
)
SEES_A_CONFIG = {"training/recipes.py", "evaluation/evaluate.py"}


def imports(path: pathlib.Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def home(path: pathlib.Path) -> str:
    """The folder of a file inside the package; "" for the method."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else ""


def own(names: set[str]) -> set[str]:
    """The parts of the package among imported names: a folder, or a file of the method."""
    return {name.split(".")[1] for name in names if name.startswith("sadajem_jax.")}


def test_the_method_stands_alone_at_the_top() -> None:
    """The top of the package holds the method's files and no other, but for Python's own two."""
    assert {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"} == METHOD
    assert {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(METHOD))
def test_the_method_imports_itself_and_the_libraries(name: str) -> None:
    """A file of the method imports the method, jax, flax, optax, numpy and Python's own."""
    names = imports(PACKAGE / f"{name}.py")
    outside = {n.split(".")[0] for n in names} - {"jax", "flax", "optax", "numpy", "sadajem_jax"}
    assert own(names) <= METHOD
    assert outside <= {"__future__", "collections", "enum", "functools", "math", "typing"}


def test_sam_needs_jax_and_optax_alone() -> None:
    """sharpness_aware.py can be taken into another project as it is."""
    outside = {n.split(".")[0] for n in imports(PACKAGE / "sharpness_aware.py")}
    assert outside <= {"__future__", "collections", "math", "typing", "jax", "optax"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: pathlib.Path) -> None:
    """No folder imports one that stands above it."""
    if not home(path):
        return  # the method, see above; the package's own names reach down lazily
    at = FLOORS.index(home(path))
    above = own(imports(path)) & set(FLOORS[:at])
    assert not above, f"{home(path)} must not import {sorted(above)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_few_see_a_config(path: pathlib.Path) -> None:
    """Only cli, and the two places that turn a config into objects, know ml_collections."""
    if any(name.startswith("ml_collections") for name in imports(path)):
        assert home(path) == "cli" or str(path.relative_to(PACKAGE)) in SEES_A_CONFIG


def test_pmap_stands_in_one_file() -> None:
    """What JAX keeps for old programs is used in one place, and easily replaced there."""
    users = {str(p.relative_to(PACKAGE)) for p in FILES if "jax.pmap(" in p.read_text()}
    assert users == {"evaluation/sharded.py"}


# Usable by itself, as `from sadajem_jax.evaluation import autoattack; autoattack.run(...)`.
HANDS_ON = {
    "evaluation/autoattack": "from sadajem_jax.evaluation.autoattack.driver import run as run"
}


def test_packages_hand_on_no_names() -> None:
    """An __init__.py holds a docstring; the top one, and a named few, the public names."""
    for path in PACKAGE.glob("*/**/__init__.py"):
        _, *rest = ast.parse(path.read_text()).body
        allowed = HANDS_ON.get(path.parent.relative_to(PACKAGE).as_posix(), "")
        assert "\n".join(map(ast.unparse, rest)) == allowed, path


def test_the_build_lists_every_package() -> None:
    """pyproject.toml names each folder of the package, and configs/ inside it."""
    import tomllib

    listed = tomllib.loads((places.ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(places.ROOT) for path in PACKAGE.rglob("__init__.py")}
    there = {".".join(folder.parts) for folder in folders}
    assert set(listed["packages"]) == there | {"sadajem_jax.configs"}
