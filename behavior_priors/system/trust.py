"""What a file may make the library do, which is nothing that the user has not allowed.

A run's `flags.txt` and a dataset's `metadata.json` name environments, options and folders, and a
name can make Python import a module or read a file. On the command line the user has written it;
in a file that came from somewhere, somebody else may have. Text that a file says is therefore a
`FromFile`, and whoever would act on it asks `require` or `allow_path` first. Consent is exact: the
flag `--trust` lists the very modules, options and folders.
"""

from __future__ import annotations

import re
import reprlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from behavior_priors.errors import UserError

_HARMLESS = (
    "control_mode",
    "engine",
    "obs_mode",
    "obs_type",
    "render_mode",
    "reward",
    "reward_mode",
    "reward_type",
)
"""Options of environments of other libraries that choose by a word, and name neither module nor
file."""

_LONGEST_SHOWN = 120


class FromFile(str):
    """Text that a file says where the user might have said it.

    It is equal to the text. Copies remember whence it is; what is made of it, such as a part, does
    not.

    Attributes:
      said: where it stands and what is said there, for messages.
      trust: what the user has allowed.
    """

    said: str
    trust: tuple[str, ...]

    def __new__(cls, text: str = "", said: str = "a file", trust: Sequence[str] = ()) -> FromFile:
        """Marks a text."""
        marked = super().__new__(cls, text)
        marked.said, marked.trust = said, tuple(trust)
        return marked

    def require(self, name: str, what: str) -> None:
        """Asks whether the user has allowed something.

        Args:
          name: of the module, option or folder, to be listed by `--trust`.
          what: would be done with it.

        Raises:
          UserError: no.
        """
        # as the flag itself is split; a folder may have commas in its name
        if {part.strip() for part in name.split(",")} <= set(self.trust):
            return
        raise UserError(
            f"{self.said} would {_shorten(what)}; a file may not do that by itself: if you know "
            f"who wrote it and want that, add --trust={_shorten(shlex.quote(name))}"
        )


def allow_path(path: str) -> Path:
    """The path that a flag gives, if the user has given it or allowed it.

    Raises:
      UserError: a file names it.
    """
    if isinstance(path, FromFile):
        path.require(str(path), f"read the folder {path}")
    return Path(path)


def check_options(source: FromFile, options: Mapping[str, Any]) -> None:
    """Refuses options of an environment by which a file might name files and modules.

    Args:
      source: where they stand.
      options: those whose meaning this library does not know.

    Raises:
      UserError: the value of one is text and not harmless, and the user has not allowed it.
    """
    for name, value in options.items():
        is_word = isinstance(value, str) and re.fullmatch(r"\w*", value)
        if _has_text(value) and not (name in _HARMLESS and is_word):
            source.require(name, f"give the environment the option {name}={reprlib.repr(value)}")


def _has_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    if isinstance(value, list | tuple | set):
        return any(map(_has_text, value))
    return not (value is None or isinstance(value, bool | int | float))


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
