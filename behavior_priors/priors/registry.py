"""Models of old behaviour and encoders of contexts by name. A new one is one new file and one line.

A name is one of these, or `module:name`, where a module of the user's has a `Model` or an `Encoder`
of that name, and needs no line here.
"""

from __future__ import annotations

from behavior_priors.priors.context_encoder import Encoder
from behavior_priors.priors.model import Model
from behavior_priors.system.own_modules import find_part

MODELS = {
    "real_nvp": "behavior_priors.priors.real_nvp",
    "spline": "behavior_priors.priors.spline",
    "gaussian": "behavior_priors.priors.gaussian",
    "mixture": "behavior_priors.priors.mixture",
    "conditional_vae": "behavior_priors.priors.conditional_vae",
    "flow_matching": "behavior_priors.priors.flow_matching",
    "skill_vae": "behavior_priors.priors.skill_vae",
    "trajectory_vae": "behavior_priors.priors.trajectory_vae",
}
"""Modules with a `MODEL`, imported when it is asked for."""

ENCODERS = {
    "product_of_gaussians": "behavior_priors.priors.product_of_gaussians",
    "gru": "behavior_priors.priors.gru",
}
"""Modules with an `ENCODER`, likewise."""


def find_model(name: str, *, flag: str) -> Model:
    """The model of that name; see `own_modules.find_part`."""
    return find_part(name, MODELS, "MODEL", Model, flag=flag)


def find_encoder(name: str, *, flag: str) -> Encoder:
    """The encoder of that name; see `own_modules.find_part`."""
    return find_part(name, ENCODERS, "ENCODER", Encoder, flag=flag)
