"""What a file of environments tells the registry about itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

from behavior_priors.envs.options import check_options
from behavior_priors.types import Env, UserError


class Family(NamedTuple):
    """Environments of one kind.

    Attributes:
      make: `(member, **options) -> Env`; the options that it has are the family's.
      complaint: `(member) -> text`, what there is instead of a member that is unknown; None for one
        that `make` knows.
    """

    make: Callable[..., Env]
    complaint: Callable[[str], str | None]

    def accept(self, options: dict[str, object], name: str) -> dict[str, object]:
        """Those of a user's options that were given, with a value.

        Raises:
          UserError: one of them is nothing that this family knows, or of another type.
        """
        given = {option: value for option, value in options.items() if value is not None}
        known = inspect.signature(self.make).parameters
        if any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values()):
            return check_options(self.make, given, name)
        for option, value in given.items():
            if option not in known:
                raise UserError(
                    f"{option}={value} is no choice that {name} has; leave it out, or use one of: "
                    f"{', '.join(list(known)[1:])}"
                )
        return check_options(self.make, given, name)


def refuse_engine(engine: str, name: str) -> None:
    """Refuses a choice of physics engine where there is none.

    Raises:
      UserError: one was chosen.
    """
    if engine != "auto":
        raise UserError(f"--engine={engine} is not for {name}, which has its own; leave it out")


def one_of(family: str, members: Callable[[], Sequence[str]]) -> Callable[[str], str | None]:
    """The complaint of a family that can list its members."""

    def complaint(member: str) -> str | None:
        known = members()
        return None if member in known else f"{family} has: {', '.join(known)}"

    return complaint
