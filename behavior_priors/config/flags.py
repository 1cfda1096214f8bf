"""A config dataclass as command-line flags, and back: a field is all that declares a flag.

`define(Config)` makes `--seed` of a field `seed`, and `--sac.learning_rate` of a field `sac` that
is a config itself; `read(Config)` makes a `Config` of what the command line says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from absl import flags

from behavior_priors.config.flag_file import named_flag_files, read_flag_file
from behavior_priors.config.flag_kinds import Kind, kind_of, make_flag
from behavior_priors.errors import UserError
from behavior_priors.system import docstrings
from behavior_priors.system.trust import FromFile

Config = TypeVar("Config")

_LONGEST_SHOWN, _LONGEST_REASON = 100, 300


def define(
    config_class: type,
    prefix: str = "",
    *,
    defaults: Any | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Declares a flag for every field of a config dataclass, and of the configs in it.

    Args:
      config_class: a frozen dataclass; its `Attributes:` section gives the help texts.
      prefix: goes before every name, with a dot.
      defaults: values that replace the fields' own defaults.
      flag_values: where the flags are registered.

    Raises:
      TypeError: a field has a type that cannot be a flag, numbers without a range, or no line under
        `Attributes:`.
      ValueError: a default is outside of its range.
    """
    help_texts = _attribute_docs(config_class)
    for field, kind in _fields(config_class):
        name = _join(prefix, field.name)
        if field.name not in help_texts and not docstrings.are_dropped():
            raise TypeError(f"{config_class.__name__} documents no attribute `{field.name}`")
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        if not isinstance(kind, Kind):
            inner = None if default is dataclasses.MISSING else default
            define(kind, name, defaults=inner, flag_values=flag_values)
            continue
        default = None if default is dataclasses.MISSING else default
        flags.DEFINE_flag(
            make_flag(name, kind, default, help_texts.get(field.name, field.name)),
            flag_values,
            # absl lists under --help what belongs to the program that was started.
            module_name=sys.argv[0],
        )


def read(
    config_class: type[Config],
    prefix: str = "",
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
    is_complete: bool = True,
) -> Config:
    """Builds the config from flags that `define` has declared and the command line has set.

    Args:
      config_class: the one that they were declared for.
      prefix: likewise.
      flag_values: where they are registered.
      is_complete: flags without a default have to be there; else they are None.

    Raises:
      UserError: a flag without a default was not given.
    """
    help_texts, values = _attribute_docs(config_class), {}
    for field, kind in _fields(config_class):
        name = _join(prefix, field.name)
        if not isinstance(kind, Kind):
            values[field.name] = read(kind, name, flag_values=flag_values)
            continue
        values[field.name] = value = flag_values[name].value
        if is_complete and value is None and _default(field) is dataclasses.MISSING:
            meaning = help_texts.get(field.name, field.name)
            raise UserError(f"--{name} is missing; give it the {meaning}")
    return config_class(**values)


def read_file(
    config_class: type[Config],
    path: str | Path,
    trust: Sequence[str] = (),
    *,
    rename: Callable[[Sequence[str]], Sequence[str]] = list,
    known_only: bool = False,
) -> Config:
    """Builds the config that a run's own flagfile describes, whatever the command line says.

    Args:
      config_class: of the run.
      path: the file.
      trust: modules, options and folders that the file may name, see `trust.FromFile`.
      rename: makes the lines of a former version those of this one.
      known_only: leave out what the config does not know.

    Returns:
      The config, in which text is a `FromFile`.

    Raises:
      UserError: the file is none that a run has, has flags that the config does not know, or values
        it cannot take.
    """
    values = flags.FlagValues()
    define(config_class, flag_values=values)
    try:
        lines = rename(read_flag_file(Path(path)).arguments)
        values([str(path), *lines], known_only=known_only)
    except flags.Error as error:
        said = " ".join(str(error).split())
        if len(said) > _LONGEST_REASON:
            said = f"{said[:_LONGEST_REASON]}..."
        raise UserError(f"{path} is not from this version: {said}") from None
    return _mark(read(config_class, flag_values=values), "", path, trust)


@contextlib.contextmanager
def naming(prefix: str, config: Any) -> Iterator[None]:
    """Turns the field that an error begins with into the flag of that field.

    Makers of learners, priors and loops know their configs' fields; that `steps` was given as
    `--loop.steps` only the program knows. An error that begins with anything else stays as it is.

    Args:
      prefix: of the config's flags.
      config: has the fields; one that has none is the value of the flag called `prefix` itself.
    """
    try:
        yield
    except UserError as error:
        if not dataclasses.is_dataclass(config):
            raise UserError(f"--{prefix}: {error}") from error
        first = re.match(r"\w*", str(error))[0]  # type: ignore[index]
        if first not in {field.name for field in dataclasses.fields(config)}:
            raise
        raise UserError(f"--{_join(prefix, str(error))}") from error


def to_text(config: Any, prefix: str = "") -> str:
    """Writes a config as a flagfile: one `--name=value` a line, sorted by name.

    Every field is written, also those at their defaults and those that are None, so that the file
    still means the same when defaults change.

    Raises:
      UserError: a value would not survive the way through a file.
    """
    return "".join(f"{line}\n" for line in sorted(_lines(config, prefix)))


def preset(argv: Sequence[str] | None = None) -> str:
    """Name of the preset in use: the stem of the last flagfile given, or "default"."""
    paths = named_flag_files(sys.argv if argv is None else argv)
    return Path(paths[-1]).stem if paths else "default"


def _mark(config: Config, prefix: str, path: str | Path, trust: Sequence[str]) -> Config:
    """The same config, whose text remembers which file says it."""
    marked: dict[str, Any] = {}
    for field, kind in _fields(type(config)):
        name, value = _join(prefix, field.name), getattr(config, field.name)
        if not isinstance(kind, Kind):
            marked[field.name] = _mark(value, name, path, trust)
        elif kind.scalar is str and not kind.choices and value is not None:
            said = f"{path} says --{name}={kind.format(value)[:_LONGEST_SHOWN]}, which"
            if isinstance(value, tuple):
                marked[field.name] = tuple(FromFile(x, said, trust) for x in value)
            else:
                marked[field.name] = FromFile(value, said, trust)
    return dataclasses.replace(cast(Any, config), **marked)


def _lines(config: Any, prefix: str) -> Iterator[str]:
    for field, kind in _fields(type(config)):
        name, value = _join(prefix, field.name), getattr(config, field.name)
        if not isinstance(kind, Kind):
            yield from _lines(value, name)
            continue
        text = kind.format(value)
        # absl strips a flagfile's lines, and nothing that is not printable is read from one
        is_kept = text.isprintable() and text == text.rstrip() and kind.restores(text, value)
        if not is_kept:
            raise UserError(
                f"--{name}={value!r} cannot be written to a flagfile and read again; give another "
                "value, without line breaks, tabs, spaces at its end, or bytes that are no text"
            )
        yield f"--{name}={text}"


def _fields(config_class: type) -> Iterator[tuple[dataclasses.Field, Any]]:
    """Fields with their `Kind`, or with their class where they are configs themselves."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    for field in dataclasses.fields(config_class):
        hint = hints[field.name]
        yield field, hint if dataclasses.is_dataclass(hint) else kind_of(hint, field.name)


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _attribute_docs(config_class: type) -> dict[str, str]:
    """What a config and those that it extends say of their attributes, each in one line."""
    docs: dict[str, str] = {}
    for one in reversed(config_class.__mro__[:-1]):
        docs |= _own_attribute_docs(one)
    return docs


def _own_attribute_docs(config_class: type) -> dict[str, str]:
    """Descriptions under `Attributes:` of a Google-style docstring, each joined to one line."""
    _, _, section = inspect.cleandoc(config_class.__doc__ or "").partition("Attributes:\n")
    section = re.split(r"\n\S", section, maxsplit=1)[0]
    docs: dict[str, str] = {}
    indent = re.match(r" *", section)[0]  # type: ignore[index]
    for entry in re.split(rf"^{indent}(?=\w+:)", section, flags=re.MULTILINE)[1:]:
        name, _, text = entry.partition(":")
        docs[name] = " ".join(text.split())
    return docs


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
