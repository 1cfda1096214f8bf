"""What is said of environments of others that raise, or give what they should not: one line."""

from __future__ import annotations

import contextlib
import functools
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from behavior_priors.types import UserError

_LIBRARIES = tuple(
    str(Path(path)) for path in {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix}
)
_OURS = str(Path(__file__).parent.parent)

LONGEST = 300
"""Letters of an exception's text that are shown."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_latest: list[UserError] = []
"""The last refusal of a function that a program on the device has called, if there was one."""


def remembered(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function whose `UserError`s `fault_behind` finds, whatever XLA makes of them."""

    @functools.wraps(function)
    def remembering(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            _latest[:] = [error]
            raise

    return remembering


def fault_behind(error: BaseException) -> UserError | None:
    """The `UserError` of a host function that an exception of a program comes from, if one does."""
    return next((fault for fault in _latest if str(fault) in str(error)), None)


@contextlib.contextmanager
def blaming(name: str, method: str) -> Iterator[None]:
    """Says in a line what an environment's method raised, and where.

    Args:
      name: of the environment.
      method: that is called, such as `step`.

    Raises:
      UserError: it raised something; a `UserError` stays what it is.
    """
    try:
        yield
    except Exception as error:
        raise fault(name, method, error) from error


def fault(name: str, method: str, error: Exception) -> UserError:
    """The line about what an environment's method raised."""
    if isinstance(error, UserError):
        return error
    return UserError(f"{name}: {method} raised {describe(error)}{_hint(error)}")


def describe(error: BaseException) -> str:
    """An exception in a line: its kind, its text, and the place in the user's code."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    kind = type(error).__name__
    where = _place(error)
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def _place(error: BaseException) -> str:
    """The innermost line of code that is neither a library's nor ours, else the innermost one."""
    frames = list(traceback.extract_tb(error.__traceback__))
    theirs = [f for f in frames if not f.filename.startswith((*_LIBRARIES, _OURS, "<"))]
    frames = theirs or [f for f in frames if not f.filename.startswith((_OURS, "<"))]
    return f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _hint(error: BaseException) -> str:
    """What is behind the commonest ones."""
    text = str(error)
    if "expected 5, got 4" in text:
        return (
            "; its step gives four values, as before gymnasium 0.26: it should give observation, "
            "reward, terminated, truncated, info"
        )
    if "unexpected keyword argument 'seed'" in text or "unexpected keyword argument 'options'" in (
        text
    ):
        return "; its reset should take seed=None and options=None"
    return ""
