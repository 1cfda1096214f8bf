"""Environments by name. A new family is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from behavior_priors.envs.manipulation.grasp import grasp_members, make_grasp
from behavior_priors.types import Env, UserError


class Family(NamedTuple):
    """Environments of one kind.

    Attributes:
      make: `(member, **options) -> Env`.
      members: what `make` knows by name.
    """

    make: Callable[..., Env]
    members: Callable[[], Sequence[str]]


FAMILIES: dict[str, Family] = {
    "grasp": Family(make_grasp, grasp_members),
}


def make_env(name: str, *, flag: str = "env", **options: object) -> Env:
    """Builds an environment.

    Args:
      name: `family/member`, such as `grasp/mug`.
      flag: what the user calls the name, for messages.
      **options: the family's own, such as the physics engine.

    Raises:
      UserError: no such family or member, or an option that the family refuses.
    """
    family, _, member = name.partition("/")
    if family not in FAMILIES or not member:
        raise UserError(
            f"--{flag}={name} is unknown; use FAMILY/MEMBER with a family of: {', '.join(FAMILIES)}"
        )
    make, members = FAMILIES[family]
    if member not in members():
        raise UserError(f"--{flag}={name} is unknown; {family}/ has: {', '.join(members())}")
    return make(member, **options)
