"""What a file of environments tells the registry about itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from behavior_priors.envs.options import check_options
from behavior_priors.errors import UserError
from behavior_priors.types import Env


class Family(NamedTuple):
    """Environments of one kind.

    Attributes:
      make: `(member, **options) -> Env`; the options that it has are the family's.
      complaint: `(member) -> text`, what there is instead of a member that is unknown; None for one
        that `make` knows.
      imports: `(member) -> modules`, which a member names and `complaint` may import.
    """

    make: Callable[..., Env]
    complaint: Callable[[str], str | None]
    imports: Callable[[str], Sequence[str]] = lambda _: ()

    def accept(self, options: dict[str, object], name: str) -> dict[str, object]:
        """A user's options as `make` takes them; None is a value too.

        Raises:
          UserError: one of them is nothing that this family knows, or of another type.
        """
        member, known, takes_any = self._options()
        for option, value in options.items():
            if option == member or not (takes_any or option in known):
                raise UserError(
                    f"{option}={value} is no choice that {name} has; leave it out, or use one of: "
                    f"{', '.join(known)}"
                )
        return check_options(self.make, options, name)

    def passed_on(self, options: Mapping[str, object]) -> dict[str, object]:
        """Those of a user's options that mean something to another library only."""
        _, known, takes_any = self._options()
        return {n: value for n, value in options.items() if takes_any and n not in known}

    def _options(self) -> tuple[str, list[str], bool]:
        """What `make` calls the member, names of its options, and whether it takes any other."""
        member, *parameters = inspect.signature(self.make).parameters.values()
        known = [x.name for x in parameters if x.kind != x.VAR_KEYWORD]
        return member.name, known, len(known) < len(parameters)


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
