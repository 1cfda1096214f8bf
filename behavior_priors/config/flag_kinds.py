"""What the text of a flag may say, by the type of the field that it is for."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Annotated, Any, Literal

from absl import flags

from behavior_priors.config import ranges

NONE = "none"
"""How a flag spells None; absl itself has no spelling for it."""

ESCAPED_COMMA = r"\,"
"""How a list spells a comma that does not end one of its parts."""

_SCALARS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a flag's text may say: how it is parsed and how it is described."""

    scalar: type
    is_tuple: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    hint: Any = None

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
            return tuple(self._parse_scalar(part) for part in _split(text))
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
            return ",".join(self._format_scalar(x).replace(",", ESCAPED_COMMA) for x in value)
        return self._format_scalar(value)

    def restores(self, text: str, value: Any) -> bool:
        """Whether the text says the value, and no other one."""
        try:
            return self.parse(text) == value
        except (KeyError, ValueError):
            return False

    def complaint(self, value: Any) -> str | None:
        """The words for what a number should be instead; None where it is in its range."""
        return ranges.complaint(self.hint, value)

    def _format_scalar(self, value: Any) -> str:
        return str(value).lower() if self.scalar is bool else str(value)


def _split(text: str) -> list[str]:
    """The parts of a list: a comma of a part has a backslash before it, or stands in brackets."""
    are_pairs = text.count("[") == text.count("]")
    parts, depth = [""] if text else [], 0
    for token in re.split(r"(\\,|[,\[\]])", text) if text else ():
        if are_pairs:
            depth = max(0, depth + (token == "[") - (token == "]"))
        if token == "," and not depth:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip().replace(ESCAPED_COMMA, ",") for part in parts]


class _Parser(flags.ArgumentParser):
    """`Kind.parse` for absl, which also passes defaults, already of their type, through it."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.syntactic_help = str(kind)

    def parse(self, argument: Any) -> Any:
        value = argument
        if isinstance(argument, str):
            try:
                value = self._kind.parse(argument)
            except (KeyError, ValueError):
                raise ValueError(f"expected {self._kind}") from None
        if words := self._kind.complaint(value):
            raise ValueError(f"should be {words}")
        return value

    def flag_type(self) -> str:
        return str(self._kind)


class _Serializer(flags.ArgumentSerializer):
    """`Kind.format` for absl's help texts."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def serialize(self, value: Any) -> str:
        return self._kind.format(value)


def make_flag(name: str, kind: Kind, default: Any, help_text: str) -> flags.Flag:
    """A flag of absl's that accepts and shows what the kind says."""
    if kind == Kind(bool, hint=bool):
        return flags.BooleanFlag(name, default, help_text)  # also understands --name, --noname
    return flags.Flag(_Parser(kind), _Serializer(kind), name, default, help_text)


def kind_of(hint: Any, name: str) -> Kind:
    """The kind of a field by its type.

    Raises:
      TypeError: a type that cannot be a flag, or numbers without a range.
    """
    found = ranges.number_type(hint)
    if found is not None and found[1] is None:
        raise TypeError(
            f"field `{name}` is of numbers without a range; behavior_priors.config.ranges has "
            "some, such as Count and Positive"
        )
    kind = _kind_of(hint)
    if kind is None:
        raise TypeError(f"field `{name}` has type {hint}, which cannot be a flag")
    return dataclasses.replace(kind, hint=hint)


def _kind_of(hint: Any) -> Kind | None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _kind_of(arguments[0])
    if hint in _SCALARS:
        return Kind(hint)
    if origin in (types.UnionType, typing.Union) and arguments[1:] == (types.NoneType,):
        kind = _kind_of(arguments[0])
        return kind and dataclasses.replace(kind, optional=True)
    if origin is tuple and arguments[1:] == (...,):
        kind = _kind_of(arguments[0])
        if kind is not None and kind == Kind(kind.scalar):
            return dataclasses.replace(kind, is_tuple=True)
    if origin is Literal and all(isinstance(choice, str) for choice in arguments):
        return Kind(str, choices=arguments)
    return None
