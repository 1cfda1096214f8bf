"""Models of old behaviour by name. A new one is one new file and one line here.

A name is one of these, or `module:name`, where a module of the user's has a `Model` of that name,
and needs no line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from behavior_priors.priors.model import Model
from behavior_priors.system.own_modules import import_own, own_name
from behavior_priors.types import UserError

MODELS = {
    "real_nvp": "behavior_priors.priors.real_nvp",
    "gaussian": "behavior_priors.priors.gaussian",
    "mixture": "behavior_priors.priors.mixture",
    "skill_vae": "behavior_priors.priors.skill_vae",
}
"""Modules with a `MODEL`, imported when it is asked for."""


def find_model(name: str, *, flag: str, known: Sequence[str] = tuple(MODELS)) -> Model:
    """The model of that name.

    Args:
      name: as above. What a `FromFile` names is imported as the user has allowed.
      flag: what the user calls the name, for messages.
      known: names of the registry that will do; all, unless told.

    Raises:
      UserError: no such model or module, or something that a file says and the user has not
        allowed.
    """
    given = f"--{flag}={name}"
    if own := own_name(name):
        model = getattr(import_own(own.module, given, name), own.name or "?", None)
        if not isinstance(model, Model):
            raise UserError(
                f"{given}: {own.module} has no {own.name or 'NAME'} that is a "
                "behavior_priors.priors.model.Model"
            )
        return model
    if name not in known:
        raise UserError(
            f"{given} is unknown; use one of: {', '.join(known)}; or MODULE:NAME with a module of "
            "yours"
        )
    return importlib.import_module(MODELS[name]).MODEL


def part_name(name: str) -> str:
    """What a model's own flags begin with: its name, without the module."""
    own = own_name(name)
    return own.name if own else name
