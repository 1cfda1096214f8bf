"""Names of arrays that somebody else has chosen: which are taken, and how messages show them."""

from __future__ import annotations

from collections.abc import Iterable

from behavior_priors.errors import UserError

MAX_LENGTH = 100
"""Letters of a name."""

_SHOWN = 20
"""Names that a message lists at most."""


def check_name(where: str, name: str) -> None:
    """Checks that an array's name can be a file's in an archive, and can be printed.

    Args:
      where: who uses the name, for the message.
      name: with or without slashes, as in `arm/position`.

    Raises:
      UserError: it is empty, too long, not printable, or a path that leads elsewhere.
    """
    wrong = None
    if not name:
        wrong = "is empty"
    elif len(name) > MAX_LENGTH:
        wrong = f"has {len(name)} letters; at most {MAX_LENGTH} are taken"
    elif not name.isprintable() or "\\" in name:
        wrong = "has characters that cannot be printed, or a backslash"
    elif any(part.strip() in ("", ".", "..") for part in name.split("/")):
        wrong = "is a path that leads elsewhere"
    if wrong is not None:
        raise UserError(f"{where}: the name {shown(name)} {wrong}; give the array another name")


def shown(name: str) -> str:
    """A name as messages show it: in quotes, escaped, not too long."""
    return repr(name if len(name) <= MAX_LENGTH else f"{name[:60]}...")


def listed(names: Iterable[str]) -> str:
    """Names in order, as messages list them: escaped if they must be, and not too many."""
    every = sorted(names)
    some = [name if name.isprintable() and len(name) <= 200 else shown(name) for name in every]
    rest = len(every) - _SHOWN
    return ", ".join(some[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "") or "nothing"
