"""Environments by name. A new family is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from behavior_priors.envs.manipulation.grasp import make_grasp
from behavior_priors.types import Env, UserError

FAMILIES: dict[str, Callable[..., Env]] = {
    "grasp": make_grasp,
}


def make_env(name: str, **options: object) -> Env:
    """Builds an environment.

    Args:
      name: `family/member`, such as `grasp/mug`.
      **options: the family's own, such as the physics engine.

    Raises:
      UserError: no such family or member.
    """
    family, _, member = name.partition("/")
    if family not in FAMILIES or not member:
        raise UserError(
            f"--env={name} is unknown; use FAMILY/MEMBER with a family of: {', '.join(FAMILIES)}"
        )
    return FAMILIES[family](member, **options)
