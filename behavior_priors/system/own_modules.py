"""Parts by name: those of a registry, and those in modules of the user's own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple, TypeVar

from behavior_priors.errors import UserError
from behavior_priors.system.faults import importing
from behavior_priors.system.trust import FromFile

Part = TypeVar("Part")


class OwnName(NamedTuple):
    """`module:name`, something in a module of the user's."""

    module: str
    name: str


def own_name(text: str) -> OwnName | None:
    """The two parts of `module:name`; None for a text of another form."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*):(.*)", text)
    return None if match is None else OwnName(*match.groups())


def run_where_python_finds_it(_: str) -> str:
    """The advice about a module that is not there, where nothing is known of it."""
    return "run where Python finds it, or set PYTHONPATH"


def import_own(
    module: str,
    given: str,
    source: str,
    advice: Callable[[str], str] = run_where_python_finds_it,
) -> ModuleType:
    """Imports a module of the user's.

    Args:
      module: its name.
      given: the flag and its value, for messages.
      source: the text that named it; where a file says it, the user has to have allowed it.
      advice: `(module) -> text`, what to do about one that is not there.

    Raises:
      UserError: there is no such module, it cannot be imported, or a file named it and the user has
        not allowed that.
    """
    if isinstance(source, FromFile):
        source.require(module, f"import the module {module}")
    try:
        with importing(module):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        raise UserError(f"{given}: there is no module {missing}; {advice(missing)}") from error


def find_part(
    name: str,
    table: Mapping[str, str],
    attribute: str,
    kind: type[Part],
    *,
    flag: str,
) -> Part:
    """A part by its name in a registry, or by `module:name`.

    Args:
      name: of the part. What a `FromFile` names is imported as the user has allowed.
      table: the registry, modules by name.
      attribute: what a part is called in a module of the registry.
      kind: of the part.
      flag: what the user calls the name, for messages.

    Raises:
      UserError: no such part or module, or something that a file says and the user has not allowed.
    """
    given = f"--{flag}={name}"
    if own := own_name(name):
        part = getattr(import_own(own.module, given, name), own.name or "?", None)
        if not isinstance(part, kind):
            raise UserError(
                f"{given}: {own.module} has no {own.name or 'NAME'} that is a "
                f"{kind.__module__}.{kind.__name__}"
            )
        return part
    if name not in table:
        raise UserError(
            f"{given} is unknown; use one of: {', '.join(table)}; or MODULE:NAME with a module of "
            "yours"
        )
    part = getattr(importlib.import_module(table[name]), attribute)
    assert isinstance(part, kind)
    return part


def part_name(name: str) -> str:
    """What a part's own flags begin with: its name, without the module."""
    own = own_name(name)
    return own.name if own else name
