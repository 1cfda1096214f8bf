"""Files of flags: a run's own `flags.txt`, and those that a command line names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from behavior_priors.errors import UserError
from behavior_priors.system.files import reason
from behavior_priors.system.foreign_files import read_text

OWNER = "# experiment: "
"""The first line of a run's flags begins so, and ends with the experiment."""

_OF_ABSL = ("flagfile", "undefok", "help", "helpfull", "helpshort", "helpxml", "only_check_args")
"""Flags that every program has, and that would read another file or change what flags mean."""

PRESETS = Path(__file__).parents[2] / "experiments" / "flags"
"""Files of flags that come with this package."""

_LONGEST_SHOWN = 60


class FlagFile(NamedTuple):
    """What a run's flags say.

    Attributes:
      owner: the experiment; `unknown` where the first line does not say.
      arguments: lines, such as `--seed=0`.
      values: text by name, empty for `--name` alone.
    """

    owner: str
    arguments: tuple[str, ...]
    values: dict[str, str]


def read_flag_file(path: Path) -> FlagFile:
    """Reads flags as an experiment writes them, which may be a stranger's.

    Raises:
      UserError: the file is missing, a link, too large or not text, or a line is not
        `--name=value`, gives a flag again, or gives one that would read another file.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or '').lower()}") from None
    first = text.partition("\n")[0]
    owner = first.removeprefix(OWNER) if first.startswith(OWNER) else "unknown"
    arguments, values = [], {}
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line.isprintable():
            raise UserError(f"{path}: line {number} has characters that are no text")
        if not line or line.startswith(("#", "//")):
            continue
        match = re.fullmatch(r"--([\w.]+)(?:=(.*))?", line, re.ASCII)
        if match is None:
            raise UserError(f"{path}: line {number}, {_shown(line)}, is not --name=value")
        name, value = match.groups()
        if name in _OF_ABSL:
            raise UserError(f"{path}: line {number}, {_shown(line)}, is no flag of a run")
        if name in values:
            raise UserError(f"{path}: line {number}, {_shown(line)}, gives the flag again")
        arguments.append(line)
        values[name] = value or ""
    return FlagFile(owner if owner.isidentifier() else "unknown", tuple(arguments), values)


def named_flag_files(arguments: Sequence[str]) -> list[str]:
    """Paths given by `--flagfile=PATH` or `--flagfile PATH`, in order."""
    paths = []
    for i, argument in enumerate(arguments):
        match = re.fullmatch(r"--?flagfile(?:=(.*))?", argument)
        if match and match[1] is not None:
            paths.append(match[1])
        elif match and i + 1 < len(arguments):
            paths.append(arguments[i + 1])
    return paths


def expand(arguments: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Arguments with the lines of the files that they name in the place of these.

    Args:
      arguments: of a command line, without the program's name; their files as `check_flag_files`
        has let them pass.

    Yields:
      Each argument, and whether a file says it.

    Raises:
      UserError: a file is missing, or names itself.
    """
    rest = list(arguments)
    while rest:
        match = re.fullmatch(r"--?flagfile(?:=(.*))?", rest[0], re.DOTALL)
        if match is None or (match[1] is None and len(rest) == 1):
            yield rest.pop(0), False
            continue
        size = 1 if match[1] is not None else 2
        name = match[1] if match[1] is not None else rest[1]
        del rest[:size]
        for line in _lines_within(find_flag_file(name), ()):
            yield line, True


def _lines_within(path: Path, above: tuple[Path, ...]) -> Iterator[str]:
    """The flags in a file and in those that it names, in order."""
    if path in above:
        raise UserError(f"--flagfile={path} names itself")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"--flagfile={path} cannot be read: {reason(error).lower()}") from None
    except UnicodeDecodeError:
        raise UserError(f"--flagfile={path} is not a text file of flags") from None
    for line in map(str.strip, lines):
        if not line or line.startswith(("#", "//")):
            continue
        inner = named_flag_files([line])
        if not inner:
            yield line
        for name in inner:
            yield from _lines_within(find_flag_file(name), (*above, path))


def find_flag_file(name: str) -> Path:
    """The file that a name means: a path, or a preset of this package, such as `parrot/quick`."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    inside = PRESETS / name.removeprefix("experiments/flags/")
    found = (x for x in (inside, inside.with_name(f"{inside.name}.flags")) if x.is_file())
    return next(found, path) if PRESETS in inside.resolve().parents else path


def presets() -> list[str]:
    """Names of the presets of this package."""
    found = PRESETS.rglob("*.flags")
    return sorted(str(x.relative_to(PRESETS).with_suffix("")) for x in found)


def check_flag_files(arguments: Sequence[str]) -> None:
    """Refuses files of flags that are missing, or lead to something that is no such file.

    What the command line names is the user's own choice, a pipe included, but for a device, which
    has no end; what those files name may be anybody's.

    Raises:
      UserError: one is missing or too large, or names a device, a pipe or a link.
    """
    named = list(map(find_flag_file, named_flag_files(arguments)))
    for path in named:
        if path.is_char_device() or path.is_block_device():
            raise UserError(f"--flagfile={path} is a device, which has no end; give a file")
        if path.is_dir() or not path.exists():
            beside = sorted(p.name for p in path.parent.glob("*.flags"))
            there = f"{path.parent} has {', '.join(beside)}" if beside else "presets are: "
            known = "" if beside else ", ".join(presets())
            raise UserError(f"--flagfile={path} is not a file; {there}{known}")
    waiting = [path for path in named if path.is_file()]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        lines = [line.strip() for line in read_text(path.resolve()).splitlines()]
        for inner in map(find_flag_file, named_flag_files(lines)):
            if not inner.is_file():
                raise UserError(f"{path}: --flagfile={inner} is not a file")
            if inner not in seen:
                waiting.append(inner)


def _shown(line: str) -> str:
    return repr(line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}...")
