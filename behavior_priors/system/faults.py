"""What is said of environments of others that raise, or give what they should not: one line."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

from behavior_priors.errors import UserError
from behavior_priors.system.texts import printable

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
    """A function whose `UserError`s `fault_behind` finds, whatever XLA makes of them.

    What it raises has a text that XLA can take: a lone surrogate would end the process there.
    """

    @functools.wraps(function)
    def remembering(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            text = printable(text_of(error))
            told = error if text == text_of(error) else UserError(text)
            _latest[:] = [told]
            raise told from error.__cause__
        except Exception as error:
            text = text_of(error)
            if text and all(x.isprintable() or x.isspace() for x in text):
                raise
            raise RuntimeError(describe(error)) from error

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
    except BaseException as error:
        if not is_theirs(error):
            raise
        raise fault(name, method, error) from error


@contextlib.contextmanager
def importing(module: str) -> Iterator[None]:
    """Says in a line what a module of the user's raised when it was imported, and where.

    Raises:
      ModuleNotFoundError: it is not there itself.
      UserError: it raised something, or takes the program's command line for its own.
    """

    def refuse(_: argparse.ArgumentParser, message: str) -> NoReturn:
        # without the usage of a program that nobody has called
        raise SystemExit(f"{printable(message)[:100]}{_FOREIGN_FLAGS}")

    own: Any = argparse.ArgumentParser
    before = own.error
    own.error = refuse
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise
        raise fault(module, "importing it", error) from error  # what it imports itself
    except BaseException as error:
        if not is_theirs(error):
            raise
        raise fault(module, "importing it", error) from error
    finally:
        own.error = before


_FOREIGN_FLAGS = " (the command line is this program's)"


def is_theirs(error: BaseException) -> bool:
    """Whether code of the user's has raised an exception, and not who sits before the terminal.

    `sys.exit` in an environment is its own; Ctrl-C and signals are raised in the main thread only.
    """
    if isinstance(error, Exception | SystemExit):
        return True
    return threading.current_thread() is not threading.main_thread()


def fault(name: str, method: str, error: BaseException) -> UserError:
    """The line about what an environment's method raised."""
    if isinstance(error, UserError):
        return error
    return UserError(f"{name}: {method} raised {describe(error)}{_hint(error)}")


def describe(error: BaseException) -> str:
    """An exception in a line: its kind, its text, and the place in the user's code."""
    text = printable(text_of(error))
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    kind = printable(type(error).__name__)
    where = printable(_place(error))
    return f"{kind}: {text} {where}".rstrip() if text else f"{kind} {where}".rstrip()


def text_of(value: object, how: Callable[[Any], str] = str) -> str:
    """What `str`, or `repr`, makes of somebody else's object; nothing where that fails too."""
    try:
        return how(value)
    except Exception:
        return ""


def _place(error: BaseException) -> str:
    """The innermost line of code that is neither a library's nor ours, else the innermost one."""
    frames = list(traceback.extract_tb(error.__traceback__))
    theirs = [f for f in frames if not f.filename.startswith((*_LIBRARIES, _OURS, "<"))]
    frames = theirs or [f for f in frames if not f.filename.startswith((_OURS, "<"))]
    return f"(at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""


_HINTS = {
    "expected 5, got 4": "its step gives four values, as before gymnasium 0.26: it should give "
    "observation, reward, terminated, truncated, info",
    "unexpected keyword argument 'seed'": "its reset should take seed=None and options=None",
    "unexpected keyword argument 'options'": "its reset should take seed=None and options=None",
    "signal only works in main thread": "environments live in a thread of their own, where no "
    "signals can be handled",
    _FOREIGN_FLAGS: "what a module does as a program stands below if __name__ == '__main__'",
}
"""What is behind the commonest ones, by what they say."""


def _hint(error: BaseException) -> str:
    text = text_of(error)
    return next((f"; {hint}" for said, hint in _HINTS.items() if said in text), "")
