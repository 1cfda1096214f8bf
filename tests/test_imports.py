"""Imports run one way, and some packages stay in their rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("behavior_priors", "experiments", "launch", "benchmarks")

BASE = {
    "errors",
    "types",
    "version",
    "system",
    "config",
    "keys",
    "observations",
    "learner",
    "distributions",
    "image_networks",
    "torso",
    "history",
    "networks",
    "replay",
}
LIBRARY = BASE | {"objectives", "priors", "learners", "envs", "data"}

# Rooms of the package and outside it, and the rooms that each may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "types": {"errors"},
    "version": set(),
    "__main__": {"programs"},
    "system": {"errors", "types"},
    "config": {"errors", "types", "system"},
    "keys": {"errors", "types", "config"},
    "learner": {"errors", "types"},
    "distributions": {"errors", "types"},
    "observations": {"errors", "types"},
    "image_networks": {"errors", "types"},
    "torso": {"errors", "types", "observations", "image_networks"},
    "history": {"errors", "types", "observations", "torso"},
    "networks": {"errors", "types", "torso"},
    "replay": {"errors", "types"},
    "objectives": BASE,
    "priors": BASE | {"objectives"},
    "learners": BASE | {"objectives"},
    "envs": {"errors", "types", "system", "config", "keys", "observations", "history"},
    "data": {"errors", "types", "version", "system", "config", "keys", "observations", "envs"},
    "training": LIBRARY,
    "evaluation": LIBRARY | {"training"},
    "programs": {"errors", "types", "version", "system", "config"},
    "runs": LIBRARY | {"training", "evaluation", "programs"},
    "policy": set(),
    "methods": LIBRARY | {"training", "evaluation", "programs", "runs", "policy"},
    "reports": LIBRARY | {"training", "evaluation", "runs", "methods"},
    "deploy": LIBRARY | {"training", "evaluation", "runs", "methods", "policy"},
}
MAY_IMPORT["experiments"] = set(MAY_IMPORT)
MAY_IMPORT["launch"] = MAY_IMPORT["benchmarks"] = set(MAY_IMPORT) - {"launch", "benchmarks"}

# Packages that may be replaced one day, and the only modules that know of them.
ONLY_IN = {
    "distrax": (
        "behavior_priors.distributions",
        "behavior_priors.priors.coupling_flow",
        "behavior_priors.priors.real_nvp",
        "behavior_priors.priors.spline",
    ),
    "orbax": ("behavior_priors.runs.checkpoint_arrays",),
    "mujoco": ("behavior_priors.envs", "behavior_priors.data"),
    "brax": ("behavior_priors.envs",),
}


def room_of(module: str) -> str | None:
    """The room that a module is in: `behavior_priors.envs.base` is in `envs`."""
    package, *rest = module.split(".")
    if package == "behavior_priors" and rest:
        return rest[0]
    return package if package in PACKAGES[1:] else None


def imported_modules(module: str, source: str, is_package: bool = False) -> Iterator[str]:
    """Every module that a source imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")
            if not is_package:
                parents.pop()
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # A name that is imported may be a module itself.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Imports that a module may not have, one line each."""
    room = room_of(module)
    found = []
    for imported in imported_modules(module, source, is_package):
        target = room_of(imported)
        if room and target and target != room and target not in MAY_IMPORT[room]:
            found.append(f"{module} imports {imported}: {room} may not know {target}")
        homes = ONLY_IN.get(imported.split(".")[0], ())
        at_home = any(f"{module}.".startswith(f"{home}.") for home in homes)
        if homes and not at_home and room != "benchmarks":
            found.append(f"{module} imports {imported}: it belongs in {' or '.join(homes)}")
    return found


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_no_import_runs_against_the_layers() -> None:
    found = []
    for path in sources():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found += violations(module, path.read_text(), path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_every_room_has_its_rule() -> None:
    rooms = {
        path.stem
        for path in (ROOT / "behavior_priors").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    }
    assert rooms <= MAY_IMPORT.keys()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("behavior_priors.types", "from behavior_priors.networks import MLP"),
        ("behavior_priors.envs.base", "import behavior_priors.training.loop"),
        ("behavior_priors.envs.physics.mjx", "from ...learners import sac"),
        ("behavior_priors.learners.sac", "from behavior_priors import envs"),
        ("behavior_priors.priors.real_nvp", "def f():\n  from behavior_priors.learners import sac"),
        ("behavior_priors.training.loop", "from experiments import parrot"),
        ("behavior_priors.training.loop", "import benchmarks.run"),
        ("experiments.parrot", "from benchmarks import run"),
        ("experiments.parrot", "from launch import local"),
        ("launch.local", "import benchmarks"),
        ("behavior_priors.learners.sac", "import distrax"),
        ("behavior_priors.training.loop", "from orbax.checkpoint import v1 as ocp"),
        ("behavior_priors.reports.figures", "import mujoco"),
        ("experiments.parrot", "from mujoco import mjx"),
        ("behavior_priors.data.collect", "import brax.envs"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("behavior_priors.training.loop", "from behavior_priors.envs.base import reset_many"),
        ("behavior_priors.envs.physics.mjx", "from mujoco import mjx"),
        ("behavior_priors.envs.base", "from . import wrappers\nfrom .physics import c"),
        ("behavior_priors.priors.real_nvp", "import distrax"),
        ("behavior_priors.runs.workdir", "import behavior_priors"),
        ("benchmarks.flow", "import distrax\nfrom behavior_priors.priors import real_nvp"),
        ("launch.local", "import experiments.parrot"),
    ],
)
def test_a_right_import_is_left_alone(module: str, source: str) -> None:
    assert violations(module, source) == []
