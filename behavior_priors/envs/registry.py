"""Environments by name. A new family is one new file and one line here.

A name is `family/member`, such as `grasp/mug`, or `module:member`, which imports a module of the
user's and needs no line here. Options of the family may follow, as in
`brax/pusher?episode_length=100&engine=spring`; see `options.read_options`.
"""

from __future__ import annotations

import contextlib
import importlib

import jax

from behavior_priors.config.checks import check_precision
from behavior_priors.envs.contract import check_env
from behavior_priors.envs.family import Family
from behavior_priors.envs.options import read_options
from behavior_priors.envs.packages import how_to_get
from behavior_priors.errors import UserError
from behavior_priors.system.faults import blaming
from behavior_priors.system.own_modules import import_own, own_name
from behavior_priors.system.trust import FromFile, check_options
from behavior_priors.types import Env

FAMILIES = {
    "grasp": "behavior_priors.envs.manipulation.grasp",
    "place": "behavior_priors.envs.manipulation.place",
    "maze": "behavior_priors.envs.maze.maze",
    "blocks": "behavior_priors.envs.blocks.stacking",
    "point": "behavior_priors.envs.point_robot",
    "locomotion": "behavior_priors.envs.locomotion.locomotion",
    "brax": "behavior_priors.envs.adapters.brax",
    "playground": "behavior_priors.envs.adapters.playground",
    "gym": "behavior_priors.envs.adapters.gym.env",
    "kitchen": "behavior_priors.envs.adapters.kitchen.kitchen",
}
"""Modules with a `FAMILY`, imported when one of their environments is asked for."""


def make_env(name: str, *, flag: str = "env", **options: object) -> Env:
    """Builds an environment.

    Args:
      name: as above; a module of the user's has a `FAMILY`. What a `FromFile` names is imported,
        and its options are passed on to other libraries, only as the user has allowed.
      flag: what the user calls the name, for messages.
      **options: the family's own, such as the physics engine; None for the family's own choice.
        Those in the name count more.

    Raises:
      UserError: no such family, module or member, an option that the family refuses, something that
        a file says and the user has not allowed, or JAX's 64-bit mode.
    """
    check_precision()
    source = name if isinstance(name, FromFile) else None
    name, mark, query = name.partition("?")
    options = {option: value for option, value in options.items() if value is not None}
    # none that the user has written is a value too
    options |= read_options(query, f"--{flag}={name}?{query}") if mark else {}
    if own := own_name(name):
        member = own.name
        family = _own_family(own.module, f"--{flag}={name}", source or name)
    else:
        kind, _, member = name.partition("/")
        if kind not in FAMILIES or not member:
            raise UserError(
                f"--{flag}={name} is unknown; use FAMILY/MEMBER with a family of: "
                f"{', '.join(FAMILIES)}; or MODULE:MEMBER with a module of yours"
            )
        family = importlib.import_module(FAMILIES[kind]).FAMILY
    # an environment of this package's is what it says that it is, and its errors are ours
    own_code = contextlib.nullcontext() if own is None else blaming(name, "making it")
    if source is not None:
        for module in family.imports(member):
            source.require(module, f"import the module {module}")
        check_options(source, options if own else family.passed_on(options))
    with own_code:
        if (hint := family.complaint(member)) is not None:
            raise UserError(f"--{flag}={name} is unknown; {hint}")
        env = family.make(member, **family.accept(options, name))
    if own is not None:
        check_env(env, name)
    env = _traced_once(env)
    return env._replace(name=f"{env.name}?{query}") if mark else env


def _traced_once(env: Env) -> Env:
    """The environment with functions that JAX traces once per process, not once per program.

    An environment that lives on the host is as it was: a reset of it is a deed.
    """
    if env.step_then_reset is not None:
        return env
    demonstrate = None if env.demonstrate is None else jax.jit(env.demonstrate)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), demonstrate=demonstrate)


def _own_family(module: str, given: str, source: str) -> Family:
    family = getattr(import_own(module, given, source, how_to_get), "FAMILY", None)
    if not isinstance(family, Family):
        raise UserError(f"{given}: {module} has no FAMILY of behavior_priors.envs.family.Family")
    return family
