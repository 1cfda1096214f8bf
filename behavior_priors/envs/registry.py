"""Environments by name. A new family is one new file and one line here.

One that is not part of this package needs no line: `module:member` imports the module.
"""

from __future__ import annotations

import importlib
import re

from behavior_priors.envs.family import Family
from behavior_priors.types import Env, UserError

FAMILIES = {
    "grasp": "behavior_priors.envs.manipulation.grasp",
    "place": "behavior_priors.envs.manipulation.place",
    "brax": "behavior_priors.envs.brax_env",
    "playground": "behavior_priors.envs.playground_env",
    "gym": "behavior_priors.envs.gym_env",
}
"""Modules with a `FAMILY`, imported when one of their environments is asked for."""


def make_env(name: str, *, flag: str = "env", **options: object) -> Env:
    """Builds an environment.

    Args:
      name: `family/member`, such as `grasp/mug`; or `module:member`, with a module of the user's
        that has a `FAMILY`.
      flag: what the user calls the name, for messages.
      **options: the family's own, such as the physics engine; None for the family's own choice.

    Raises:
      UserError: no such family, module or member, or an option that the family refuses.
    """
    if own := re.fullmatch(r"([A-Za-z_][\w.]*):(.*)", name):
        module, member = own.groups()
        family = _import_family(module, f"--{flag}={name}")
    else:
        kind, _, member = name.partition("/")
        if kind not in FAMILIES or not member:
            raise UserError(
                f"--{flag}={name} is unknown; use FAMILY/MEMBER with a family of: "
                f"{', '.join(FAMILIES)}; or MODULE:MEMBER with a module of yours"
            )
        family = importlib.import_module(FAMILIES[kind]).FAMILY
    if (hint := family.complaint(member)) is not None:
        raise UserError(f"--{flag}={name} is unknown; {hint}")
    return family.make(member, **family.accept(options, name))


def _import_family(module: str, given: str) -> Family:
    try:
        family = getattr(importlib.import_module(module), "FAMILY", None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # something that the user's module itself imports
        raise UserError(
            f"{given}: there is no module {error.name}; run where Python finds it, or set "
            "PYTHONPATH"
        ) from error
    if not isinstance(family, Family):
        raise UserError(f"{given}: {module} has no FAMILY of behavior_priors.envs.family.Family")
    return family
