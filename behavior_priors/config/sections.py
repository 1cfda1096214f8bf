"""Flags of what the command line has chosen only: configs that grow with a choice.

A program's own config names parts, such as `--priors=real_nvp`, and each part has flags of its
own. The program's flags are read first, with `peek`; `with_sections` then makes the config that has
those of the chosen parts as well, and `--help` shows what this run has.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from absl import flags as absl_flags

from behavior_priors.config import flags
from behavior_priors.errors import UserError

Config = TypeVar("Config")


def with_sections(config_class: type[Config], parts: Mapping[str, Any]) -> type[Config]:
    """A config class that has the configs of parts too.

    Args:
      config_class: a frozen dataclass.
      parts: configs by the name that their flags begin with; their values are the defaults.

    Raises:
      UserError: a part is called like a flag of the program's, or like nothing that a flag can be.
    """
    own = {field.name for field in dataclasses.fields(cast(Any, config_class))}
    fields: list[Any] = []
    for name, part in parts.items():
        if name in own or not name.isidentifier():
            raise UserError(
                f"--{name}... cannot be flags of a part: call it otherwise, by letters, digits and "
                f"_, and none of: {', '.join(sorted(own))}"
            )
        default = dataclasses.field(default_factory=functools.partial(copy.copy, part))
        fields.append((name, type(part), default))
    # flags without a default cannot follow those that have one
    made = dataclasses.make_dataclass(
        config_class.__name__, fields, bases=(config_class,), frozen=True, kw_only=True
    )
    lines = "".join(f"\n  {name}: of {name}." for name in parts)
    made.__doc__ = f"The flags of what was chosen.\n\nAttributes:{lines}\n"
    return cast(type[Config], made)


def peek(config_class: type[Config], argv: Sequence[str]) -> Config:
    """What a command line says of a program's own flags, whatever else it says.

    Flags without a default are None where they were not given.

    Args:
      config_class: of the program.
      argv: the command line, with the program's name.

    Raises:
      absl.flags.Error: a flag of the program's has a value that it cannot take.
    """
    values = absl_flags.FlagValues()
    values.set_gnu_getopt()  # a flag that is not known may have its value after a space
    flags.define(config_class, flag_values=values)
    values(list(argv), known_only=True)
    return flags.read(config_class, flag_values=values, is_complete=False)
