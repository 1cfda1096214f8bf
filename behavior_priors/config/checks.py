"""What configs are refused for, said in the same words."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from behavior_priors.config import ranges
from behavior_priors.errors import UserError
from behavior_priors.types import ObservationSpec


def check_observation(field: str, who: str, names: Sequence[str], spec: ObservationSpec) -> None:
    """Refuses names of observations that do not exist.

    Args:
      field: of the config that names them.
      who: is to see them.
      names: of arrays.
      spec: what there is.

    Raises:
      UserError: one of them is not there.
    """
    missing = [name for name in names if name not in spec]
    if missing:
        raise UserError(
            f"{field}: {who} is to see {', '.join(missing)}, but there is only {', '.join(spec)}"
        )


def check_rules(config: Any, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Refuses the first field whose rule is not kept.

    Args:
      config: has the fields.
      rules: by field, whether its value is allowed, and which ones are.

    Raises:
      UserError: there is such a field.
    """
    for field, (is_kept, range_text) in rules.items():
        if not is_kept:
            raise UserError(f"{field}={getattr(config, field)} should be {range_text}")


def check_std_limit(config: Any) -> None:
    """Refuses limits of log standard deviations between which a policy cannot start.

    Args:
      config: has `min_log_std`, `max_log_std` and `std_limit`.

    Raises:
      UserError: `std_limit` is unknown, or a tanh and zero not between the limits.
    """
    if config.std_limit not in ("clip", "tanh"):
        raise UserError(f"std_limit={config.std_limit} should be clip or tanh")
    if config.std_limit == "tanh" and not config.min_log_std < 0 < config.max_log_std:
        raise UserError(
            f"std_limit=tanh never reaches its limits, and policies start at 0, which should lie "
            f"between min_log_std={config.min_log_std} and max_log_std={config.max_log_std}"
        )


def check_ranges(config: Any) -> None:
    """Refuses numbers outside of the ranges that the types of a config's fields name.

    Args:
      config: a dataclass; configs in it are left to whoever makes something of them.

    Raises:
      UserError: there is such a number.
    """
    for field, hint in typing.get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, field)
        if words := ranges.complaint(hint, value):
            raise UserError(f"{field}={value} should be {words}")


def check_precision() -> None:
    """Refuses JAX's 64-bit mode, in which parts of what is made would not fit each other.

    Raises:
      UserError: it is on.
    """
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise UserError(
            "JAX's 64-bit mode is on (JAX_ENABLE_X64), and behavior_priors computes in 32 bits; "
            "make and run its parts within `with jax.enable_x64(False):`, or turn the mode off"
        )
