"""Modules of the user's own, named on the command line or, where that is allowed, by a file."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from behavior_priors.system.faults import importing
from behavior_priors.system.trust import FromFile
from behavior_priors.types import UserError


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
