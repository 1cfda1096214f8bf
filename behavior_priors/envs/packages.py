"""Packages of environments that people name, and how they are had here."""

from __future__ import annotations

import importlib.util

from behavior_priors.system.own_modules import run_where_python_finds_it

WAYS = {
    "ale_py": ("ale-py", "its actions are discrete, which nothing here can act on"),
    "brax": ("behavior-priors", "its environments are brax/NAME"),
    "dm_control": ("shimmy[dm-control]", "its environments are gym/shimmy:dm_control/ID"),
    "gymnasium": ("behavior-priors[gym]", "its environments are gym/ID"),
    "gymnasium_robotics": (
        "behavior-priors[kitchen]",
        "its environments are gym/gymnasium_robotics:ID, and kitchen/SUBTASK+SUBTASK",
    ),
    "metaworld": ("metaworld", "its environments are gym/metaworld:ID"),
    "minigrid": ("minigrid", "its actions are discrete, which nothing here can act on"),
    "mujoco_playground": ("behavior-priors[playground]", "its environments are playground/NAME"),
    "ogbench": (
        "behavior-priors[ogbench]",
        "its environments are gym/ogbench:ID, such as gym/ogbench:cube-single-singletask-task1-v0",
    ),
    "panda_gym": ("panda-gym", "its environments are gym/panda_gym:ID"),
    "shimmy": ("shimmy[dm-control]", "its environments are gym/shimmy:ID"),
}
"""What is installed for a module, and how its environments are called."""

_ALIASES = {
    "gym_robotics": "gymnasium_robotics",
    "gym": "gymnasium",
    "playground": "mujoco_playground",
}


def how_to_get(module: str) -> str:
    """What to do about a module that is not there."""
    package = module.partition(".")[0]
    package = _ALIASES.get(package, package)
    if package not in WAYS:
        return run_where_python_finds_it(module)
    install, use = WAYS[package]
    # the package may be there, without what was asked of it
    return use if package != module and _is_there(package) else f"pip install '{install}'; {use}"


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
