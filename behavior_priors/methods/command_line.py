"""The command line of an experiment: which flags there are, and what they were called before.

Methods that are compared share a file of flags. What such a file says of parts that a run has not
is left out; on the command line itself it is a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags as absl_flags

from behavior_priors.config import flags
from behavior_priors.config.flag_file import expand
from behavior_priors.config.sections import peek, with_sections
from behavior_priors.errors import UserError
from behavior_priors.methods.settings import ExperimentConfig, config_class, every_section


class Preset(NamedTuple):
    """An entry point with choices of its own.

    Attributes:
      owner: what runs of it are called.
      flags: lines that go before what the command line says.
      former: patterns of `name=value`, as flags were written before, and what is written now; a
        replacement of several lines is several flags.
      by_method: a run's folder is called after its methods too.
      compares: its command line may have flags of parts that a run has not, as it always could.
    """

    owner: str
    flags: tuple[str, ...] = ()
    former: Mapping[str, str] = {}
    by_method: bool = False
    compares: bool = False


def declare(
    preset: Preset, argv: Sequence[str], flag_values: absl_flags.FlagValues = absl_flags.FLAGS
) -> list[str]:
    """Declares the flags that a command line may have.

    Args:
      preset: of the program.
      argv: the command line, with the program's name.
      flag_values: where the flags are registered.

    Returns:
      The command line as it is to be read: without files, flags called as they are now.

    Raises:
      absl.flags.Error: a file of flags cannot be read, or a flag has a value that it cannot take.
      UserError: a method or a part of one is not there.
    """
    said = [(line, True) for line in preset.flags]
    said += expand(argv[1:])
    # what was one flag of all methods may be one of each now
    said = [
        (new, is_file or preset.compares or new != line)
        for line, is_file in said
        for new in renamed(line, preset.former)
    ]
    chosen = config_class(peek(ExperimentConfig, [argv[0], *(line for line, _ in said)]))
    flags.define(chosen, flag_values=flag_values)
    unused = _names(with_sections(ExperimentConfig, every_section())) - _names(chosen)
    return [argv[0], *(line for line, is_file in said if not (is_file and _name(line) in unused))]


def read_run(preset: Preset, path: str | Path, trust: Sequence[str] = ()) -> ExperimentConfig:
    """The config of a run, from its own flags; see `flags.read_file`.

    Raises:
      UserError: the file is not from this version, or names what the user has not allowed.
    """

    def rename(lines: Sequence[str]) -> list[str]:
        if any(line.startswith("--infer=") for line in lines):
            return list(lines)  # flags are called as they are now
        return [new for line in lines for new in renamed(line, preset.former)]

    own = flags.read_file(ExperimentConfig, path, trust, rename=rename, known_only=True)
    try:
        chosen = config_class(own)
    except UserError as error:
        said = f"{path}: " if str(error).startswith("--") else ""
        raise UserError(f"{said}{error}") from None
    return flags.read_file(chosen, path, trust, rename=rename)


def renamed(line: str, former: Mapping[str, str]) -> list[str]:
    """A flag as it is written now: no line or several, where it has become that many."""
    match = re.fullmatch(r"--?([\w.]+)(=.*)?", line, re.DOTALL)
    if match is None:
        return [line]
    text = f"{match[1]}{match[2] or ''}"
    for pattern, now in former.items():
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found is not None:
            return [f"--{part}" for part in found.expand(now).split("\n") if part]
    return [line]


def _name(line: str) -> str:
    match = re.match(r"--?([\w.]+)", line)
    return match[1] if match else ""


def _names(config: type) -> set[str]:
    values = absl_flags.FlagValues()
    flags.define(config, flag_values=values)
    names = set(values)
    return names | {f"no{name}" for name in names}
