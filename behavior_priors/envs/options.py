"""Options of an environment: as they stand in its name, and as its family takes them."""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
import types
import typing
import urllib.parse
from collections.abc import Callable
from typing import Any

from behavior_priors.errors import UserError

LONGEST_EPISODE = 10_000_000
"""Steps; rollouts hold a key for each."""

MOST = 1_000_000_000
"""Of whatever is counted."""

_STEPS = ("episode_length", "max_episode_steps")

_WORDS = {"true": True, "false": False, "none": None, "null": None}

_TUPLE = re.compile(r"\([\d\s.,eE+-]*\)")
"""What Python writes for a list of numbers that JSON does not know."""


def read_options(query: str, given: str) -> dict[str, Any]:
    """Options written as `key=value&other=value`.

    Numbers, `true`, `false`, `none` and `null` are understood as such; so are lists, dictionaries
    and quoted strings in JSON, such as `[[0,1],[2,3]]` and `"007"`; everything else is text. What
    would divide or mislead is written with a percent sign: `%26` for `&`, `%25` for `%`.

    Args:
      query: the options.
      given: the whole of what the user gave, for messages.

    Raises:
      UserError: they are written in another way, one is there twice, a number is NaN, or what looks
        like a list is none of JSON.
    """
    options: dict[str, Any] = {}
    for pair in query.split("&"):
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise UserError(f"{given}: options are written as in NAME?key=value&other=value")
        key = urllib.parse.unquote(key)
        if key in options:
            raise UserError(f"{given}: {key} is there twice; give it once")
        options[key] = _read_value(urllib.parse.unquote(text), key, given)
    return options


def check_options(make: Callable[..., Any], options: dict[str, Any], name: str) -> dict[str, Any]:
    """Values as the function that makes an environment says that they are.

    Whole numbers are taken for floats, and floats such as `1e3` for whole ones.

    Args:
      make: its parameters have types; one without a type takes anything.
      options: by the parameters' names.
      name: of the environment, for messages.

    Raises:
      UserError: a value is of another type, or an episode's length none that an episode can have.
    """
    try:
        hints = typing.get_type_hints(make)
    except (NameError, TypeError):  # names that are there for type checkers only
        hints = {}
    accepted = {}
    for option, value in options.items():
        hint = hints.get(option) if _is_own(make, option) else None
        value = _as(hint, value, option, name)
        if option in _STEPS:
            value = _as(int | None, value, option, name)
            # gymnasium's own way to have no limit
            is_none = value is None or (option == "max_episode_steps" and value == -1)
            if not is_none and not 1 <= value <= LONGEST_EPISODE:
                bound = "positive, at least 1" if value < 1 else f"at most {LONGEST_EPISODE}"
                raise UserError(f"{name} cannot be made: {option}={value} should be {bound}")
        accepted[option] = value
    return accepted


def _read_value(text: str, key: str, given: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    value: Any = text
    if text[:1] in ("[", "{", '"') or _TUPLE.fullmatch(text):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError(
                f"{given}: {key}={text[:40]} should be JSON, such as [[0,1],[2,3]] or "
                '{"a": 1}; what is text all the same has to be in "quotation marks"'
            ) from None
    else:
        for kind in (int, float):
            try:
                value = kind(text)
                break
            except ValueError:
                pass
    if _has_nan(value):
        raise UserError(f"{given}: {key} is not a number")
    return value


def _has_nan(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_nan, value))
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    return isinstance(value, float) and math.isnan(value)


def _is_own(make: Callable[..., Any], option: str) -> bool:
    parameter = inspect.signature(make).parameters.get(option)
    return parameter is not None and parameter.kind != parameter.VAR_KEYWORD


def _as(hint: Any, value: Any, option: str, name: str) -> Any:
    """A value as one of the plain types that a hint allows; as it is under any other hint."""
    if hint is None:
        return value
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not set(kinds) <= {int, float, str, bool, type(None)}:
        return value
    if value is None and type(None) in kinds:
        return None
    if bool in kinds and isinstance(value, bool):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if int in kinds and is_number and abs(value) <= MOST and value == int(value):
        return int(value)
    if float in kinds and is_number and abs(value) <= sys.float_info.max:
        return float(value)
    if str in kinds and (isinstance(value, str) or is_number):
        return str(value)
    words = {int: f"a whole number up to {MOST}", float: "a finite number", str: "text"}
    words |= {bool: "true or false", type(None): "none"}
    allowed = " or ".join(words[kind] for kind in kinds)
    raise UserError(f"{name}: {option}={str(value)[:40]} should be {allowed}")
