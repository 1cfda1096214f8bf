"""Environments by name. A new family is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from behavior_priors.envs.manipulation.grasp import grasp_members, make_grasp
from behavior_priors.envs.manipulation.place import make_place, place_complaint
from behavior_priors.types import Env, UserError


class Family(NamedTuple):
    """Environments of one kind.

    Attributes:
      make: `(member, **options) -> Env`.
      complaint: `(member) -> text`, what there is instead of a member that is unknown; None for one
        that `make` knows.
    """

    make: Callable[..., Env]
    complaint: Callable[[str], str | None]


def one_of(family: str, members: Callable[[], Sequence[str]]) -> Callable[[str], str | None]:
    """The complaint of a family that can list its members."""

    def complaint(member: str) -> str | None:
        known = members()
        return None if member in known else f"{family}/ has: {', '.join(known)}"

    return complaint


FAMILIES: dict[str, Family] = {
    "grasp": Family(make_grasp, one_of("grasp", grasp_members)),
    "place": Family(make_place, place_complaint),
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
    make, complaint = FAMILIES[family]
    if (hint := complaint(member)) is not None:
        raise UserError(f"--{flag}={name} is unknown; {hint}")
    return make(member, **options)
