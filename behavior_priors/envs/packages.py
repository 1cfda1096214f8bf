"""Packages of environments that people name, and how they are had here."""

from __future__ import annotations

WAYS = {
    "ale_py": "pip install ale-py; its actions are discrete, which nothing here can act on",
    "brax": "its environments are brax/NAME",
    "dm_control": (
        "pip install 'shimmy[dm-control]'; its environments are gym/shimmy:dm_control/ID"
    ),
    "gymnasium": "its environments are gym/ID: pip install 'behavior-priors[gym]'",
    "gymnasium_robotics": (
        "pip install 'behavior-priors[kitchen]'; its environments are gym/gymnasium_robotics:ID, "
        "and kitchen/..."
    ),
    "metaworld": "pip install metaworld; its environments are gym/metaworld:ID",
    "minigrid": "pip install minigrid; its actions are discrete, which nothing here can act on",
    "mujoco_playground": (
        "its environments are playground/NAME: pip install 'behavior-priors[playground]'"
    ),
    "ogbench": (
        "pip install 'behavior-priors[ogbench]'; its environments are gym/ogbench:ID, such as "
        "gym/ogbench:cube-single-singletask-task1-v0"
    ),
    "panda_gym": "pip install panda-gym; its environments are gym/panda_gym:ID",
    "shimmy": "pip install 'shimmy[dm-control]'; its environments are gym/shimmy:ID",
}
"""By the module that is imported."""

_ALIASES = {
    "gym_robotics": "gymnasium_robotics",
    "gym": "gymnasium",
    "gymnasium-robotics": "gymnasium_robotics",
    "playground": "mujoco_playground",
}


def how_to_get(module: str) -> str:
    """What to do about a module that is not there."""
    package = module.partition(".")[0]
    package = _ALIASES.get(package, package)
    if package in WAYS:
        return WAYS[package]
    return "run where Python finds it, or set PYTHONPATH"
