"""How programs begin and end: their statuses, and one line for whatever goes wrong."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from behavior_priors.config.flag_file import check_flag_files, expand
from behavior_priors.errors import UserError
from behavior_priors.programs import streams, termination
from behavior_priors.programs.mishaps import explain, prepare_jax
from behavior_priors.system.faults import fault_behind
from behavior_priors.system.files import NO_SPACE, reason
from behavior_priors.system.texts import printable

_HELP_STATUS = 1
_USAGE_STATUS = 2
_INTERRUPT_STATUS = 130
_CLOSED_PIPE_STATUS = 141

GARBAGE = (50_000, 20, 50)
"""Objects, and rounds, after which Python looks for garbage: tracing makes many, most of which
stay, and with Python's own 700 looking through them again and again is 7 % of a short run."""


def run(
    main: Callable[[], None], declare: Callable[[Sequence[str]], Sequence[str]] | None = None
) -> NoReturn:
    """Parses the command line, runs `main` and exits; what the user gets wrong costs one line.

    Where which flags there are depends on the command line, `declare` defines them; it is given the
    command line with the program's name, and returns it as it is to be read.

    The exit status is 2 after such an error, 130 after Ctrl-C, 143 after SIGTERM (what was under
    way is saved before), and 141 where whoever reads the output has read enough of it, as `head`
    has. Other exceptions are defects of the program and keep their traceback. Standard streams that
    are closed are nowhere to write, which is no error.
    """
    streams.prepare()
    try:
        parse = functools.partial(_parse_command_line, declare)
        app.run(lambda _: _guard(main), flags_parser=parse)
    except (OSError, SystemExit) as end:
        failure = streams.failure()  # while it can still be answered for
        is_told = isinstance(end, SystemExit) and end.code not in (None, 0, _HELP_STATUS)
        if failure is None or is_told:
            raise
        if isinstance(failure, BrokenPipeError):
            sys.exit(_CLOSED_PIPE_STATUS)
        if failure.errno in NO_SPACE:
            _exit_with(f"no space left on device while writing {failure.filename}")
        _exit_with(f"{failure.filename} cannot be written: {reason(failure)}")
    raise AssertionError("absl.app.run always exits")


def _guard(main: Callable[[], None]) -> None:
    termination.install()
    gc.set_threshold(*GARBAGE)
    try:
        prepare_jax()
        main()
    except termination.Terminated:
        _exit_at_once(termination.MESSAGE, termination.STATUS)
    except KeyboardInterrupt:
        _exit_at_once("interrupted", _INTERRUPT_STATUS)
    except UserError as error:
        _exit_with(str(error))
    except Exception as error:
        if error is streams.failure():
            raise
        if termination.requested():
            # whatever has called Python back from the device made another exception of it
            _exit_at_once(termination.MESSAGE, termination.STATUS)
        if _is_ctrl_c(error):
            _exit_at_once("interrupted", _INTERRUPT_STATUS)
        if (fault := fault_behind(error)) is not None:
            _exit_with(str(fault))
        given = {name: flags.FLAGS[name].value for name in flags.FLAGS}
        if line := explain(error, given):
            _exit_with(line)
        raise


def _is_ctrl_c(error: Exception) -> bool:
    """Whether Ctrl-C fell into a call from the device, which may happen in the main thread.

    A program that JAX runs there fails with a ValueError.
    """
    text = str(error)
    is_of_device = type(error).__name__ == "JaxRuntimeError" or (
        isinstance(error, ValueError) and text.startswith("INTERNAL:")
    )
    return is_of_device and "\nKeyboardInterrupt" in text


def _exit_at_once(message: str, status: int) -> NoReturn:
    """Ends a program in whatever it was doing.

    A program on the device may be under way, and crash when Python is taken down under it.
    """
    _say(f"error: {message}")
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _parse_command_line(
    declare: Callable[[Sequence[str]], Sequence[str]] | None, argv: Sequence[str]
) -> list[str]:
    try:
        check_flag_files(argv)
        if declare is not None:
            argv = declare(argv)
        rest = flags.FLAGS([*argv[:1], *(x for x, _ in expand(argv[1:]))])
    except UserError as error:
        _exit_with(str(error))
    except flags.UnrecognizedFlagError as error:
        _exit_with(f"{error}; --help lists the flags")
    except flags.Error as error:
        _exit_with(str(error))
    if len(rest) > 1:
        _exit_with(f"argument {rest[1]!r} belongs to no flag; flags are written --name=value")
    if flags.FLAGS["verbosity"].using_default_value:
        # absl's own default, INFO, would let every library narrate its work.
        flags.FLAGS.verbosity = logging.WARNING  # type: ignore[assignment]
    return rest


def _exit_with(message: str, status: int = _USAGE_STATUS) -> NoReturn:
    # a file's text may be in it, and a terminal obeys what is not printable
    line = printable(message)
    _say(f"error: {line}")
    sys.exit(status)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # then there is nowhere left to say so
        print(line, file=sys.stderr, flush=True)
