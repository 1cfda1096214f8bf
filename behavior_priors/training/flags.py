"""A config dataclass as command-line flags, and back: a field is all that declares a flag.

`define(Config)` makes `--seed` of a field `seed`, and `--sac.learning_rate` of a field `sac` that
is a config itself; `read(Config)` makes a `Config` of what the command line says.
"""

from __future__ import annotations

import dataclasses
import errno
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from absl import app, flags, logging

from behavior_priors.types import UserError

Config = TypeVar("Config")

NONE = "none"
"""How a flag spells None; absl itself has no spelling for it."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the operating-system errors that mean a full disk or quota."""

_USAGE_STATUS = 2
_INTERRUPT_STATUS = 130
_SCALARS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


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
      TypeError: a field has a type that cannot be a flag, or no line under `Attributes:`.
    """
    help_texts = _attribute_docs(config_class)
    for field, kind in _fields(config_class):
        name = _join(prefix, field.name)
        if field.name not in help_texts:
            raise TypeError(f"{config_class.__name__} documents no attribute `{field.name}`")
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        if not isinstance(kind, _Kind):
            inner = None if default is dataclasses.MISSING else default
            define(kind, name, defaults=inner, flag_values=flag_values)
            continue
        required = default is dataclasses.MISSING
        flags.DEFINE_flag(
            _make_flag(name, kind, None if required else default, help_texts[field.name]),
            flag_values,
            # absl lists under --help what belongs to the program that was started.
            module_name=sys.argv[0],
            required=required,
        )


def read(
    config_class: type[Config],
    prefix: str = "",
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> Config:
    """Builds the config from flags that `define` has declared and the command line has set."""
    values = {
        field.name: flag_values[_join(prefix, field.name)].value
        if isinstance(kind, _Kind)
        else read(kind, _join(prefix, field.name), flag_values=flag_values)
        for field, kind in _fields(config_class)
    }
    return config_class(**values)


def read_file(config_class: type[Config], path: str | Path) -> Config:
    """Builds the config that a run's own flagfile describes, whatever the command line says.

    Raises:
      UserError: the file has flags that the config does not know, or values it cannot take.
    """
    values = flags.FlagValues()
    define(config_class, flag_values=values)
    try:
        values([str(path), f"--flagfile={path}"])
    except flags.Error as error:
        raise UserError(
            f"{path} is not from this version: {' '.join(str(error).split())}"
        ) from None
    return read(config_class, flag_values=values)


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
    paths = _flagfiles(sys.argv if argv is None else argv)
    return Path(paths[-1]).stem if paths else "default"


def run(main: Callable[[], None]) -> NoReturn:
    """Parses the command line, runs `main` and exits; what the user gets wrong costs one line.

    The exit status is 2 after such an error and 130 after Ctrl-C. Other exceptions are defects of
    the program and keep their traceback.
    """
    app.run(lambda _: _guard(main), flags_parser=_parse_command_line)
    raise AssertionError("absl.app.run always exits")


def _guard(main: Callable[[], None]) -> None:
    try:
        main()
    except UserError as error:
        _exit_with(str(error))
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        _exit_with(f"no space left on device while writing {error.filename or 'a file'}")
    except KeyboardInterrupt:
        _exit_with("interrupted", _INTERRUPT_STATUS)


def _parse_command_line(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        _exit_with(f"{error}; --help lists the flags")
    except flags.CantOpenFlagFileError as error:
        _exit_with(_explain_flagfile(argv) or str(error))
    except UnicodeDecodeError:
        _exit_with(f"--flagfile={_flagfiles(argv)[-1]} is not a text file of flags")
    except flags.Error as error:
        _exit_with(str(error))
    if len(rest) > 1:
        _exit_with(f"argument {rest[1]!r} belongs to no flag; flags are written --name=value")
    if flags.FLAGS["verbosity"].using_default_value:
        # absl's own default, INFO, would let every library narrate its work.
        flags.FLAGS.verbosity = logging.WARNING  # type: ignore[assignment]
    return rest


def _exit_with(message: str, status: int = _USAGE_STATUS) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def _flagfiles(argv: Sequence[str]) -> list[str]:
    """Paths given by `--flagfile=PATH` or `--flagfile PATH`, in order."""
    paths = []
    for i, argument in enumerate(argv):
        match = re.fullmatch(r"--?flagfile(?:=(.*))?", argument)
        if match and match[1] is not None:
            paths.append(match[1])
        elif match and i + 1 < len(argv):
            paths.append(argv[i + 1])
    return paths


def _explain_flagfile(argv: Sequence[str]) -> str | None:
    """Says which flagfile is missing and what lies beside it."""
    for path in map(Path, _flagfiles(argv)):
        if not path.is_file():
            presets = ", ".join(sorted(p.name for p in path.parent.glob("*.flags"))) or "no presets"
            return f"--flagfile={path} is not a file; {path.parent} has {presets}"
    return None


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What a flag's text may say: how it is parsed and how it is described."""

    scalar: type
    is_tuple: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = " or ".join(self.choices) or _SCALARS[self.scalar]
        if self.is_tuple:
            text = "a list with commas, each " + text
        return f"{text}, or {NONE}" if self.optional else text

    def parse(self, text: str) -> Any:
        """Raises ValueError where the text is not of this kind."""
        if self.optional and text == NONE:
            return None
        if self.is_tuple:
            return tuple(self._parse_scalar(part.strip()) for part in text.split(",") if text)
        return self._parse_scalar(text)

    def _parse_scalar(self, text: str) -> Any:
        if self.choices and text not in self.choices:
            raise ValueError
        if self.scalar is bool:
            return {"true": True, "false": False}[text.lower()]
        return self.scalar(text)

    def format(self, value: Any) -> str:
        """The text that `parse` turns into `value`."""
        if value is None:
            return NONE
        if self.is_tuple:
            return ",".join(map(self._format_scalar, value))
        return self._format_scalar(value)

    def _format_scalar(self, value: Any) -> str:
        return str(value).lower() if self.scalar is bool else str(value)


class _Parser(flags.ArgumentParser):
    """`_Kind.parse` for absl, which also passes defaults, already of their type, through it."""

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind
        self.syntactic_help = str(kind)

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument
        try:
            return self._kind.parse(argument)
        except (KeyError, ValueError):
            raise ValueError(f"expected {self._kind}") from None

    def flag_type(self) -> str:
        return str(self._kind)


class _Serializer(flags.ArgumentSerializer):
    """`_Kind.format` for absl's help texts."""

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind

    def serialize(self, value: Any) -> str:
        return self._kind.format(value)


def _make_flag(name: str, kind: _Kind, default: Any, help_text: str) -> flags.Flag:
    if kind == _Kind(bool):
        return flags.BooleanFlag(name, default, help_text)  # also understands --name, --noname
    return flags.Flag(_Parser(kind), _Serializer(kind), name, default, help_text)


def _lines(config: Any, prefix: str) -> Iterator[str]:
    for field, kind in _fields(type(config)):
        name, value = _join(prefix, field.name), getattr(config, field.name)
        if not isinstance(kind, _Kind):
            yield from _lines(value, name)
            continue
        text = kind.format(value)
        # absl strips a flagfile's lines.
        if len(text.splitlines()) > 1 or text != text.rstrip() or kind.parse(text) != value:
            raise UserError(f"--{name}={value!r} cannot be written to a flagfile")
        yield f"--{name}={text}"


def _fields(config_class: type) -> Iterator[tuple[dataclasses.Field, Any]]:
    """Fields with their `_Kind`, or with their class where they are configs themselves."""
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        hint = hints[field.name]
        yield field, hint if dataclasses.is_dataclass(hint) else _kind(hint, field.name)


def _kind(hint: Any, name: str) -> _Kind:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return _Kind(hint)
    if origin in (types.UnionType, typing.Union) and arguments[1:] == (types.NoneType,):
        return dataclasses.replace(_kind(arguments[0], name), optional=True)
    if origin is tuple and arguments[1:] == (...,) and arguments[0] in _SCALARS:
        return _Kind(arguments[0], is_tuple=True)
    if origin is Literal and all(isinstance(choice, str) for choice in arguments):
        return _Kind(str, choices=arguments)
    raise TypeError(f"field `{name}` has type {hint}, which cannot be a flag")


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _attribute_docs(config_class: type) -> dict[str, str]:
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
