"""Models of a user's own: one that fits, one that is none of single actions, one ill-named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from behavior_priors.config.ranges import Positive
from behavior_priors.priors import skill_vae
from behavior_priors.priors.model import Model
from behavior_priors.types import (
    ActionSpec,
    Array,
    Metrics,
    ObservationSpec,
    Params,
    Prior,
    PRNGKey,
)


@dataclass(frozen=True)
class LineConfig:
    """A line.

    Attributes:
      slope: of the line, which is the loss.
    """

    slope: Positive = 1.0


def make_line(config: LineConfig, _: ObservationSpec, action_spec: ActionSpec) -> Prior:
    """A prior whose loss is known."""

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        del batch, key
        return config.slope + 0.0 * params["w"], {}

    return Prior(
        name="line",
        latent_size=action_spec.size,
        action_size=action_spec.size,
        init=lambda key: {"w": jnp.zeros(())},
        encode=lambda params, observation: jnp.zeros(0),
        decode=lambda params, latent, features: latent,
        loss=loss,
    )


line = seed = Model(LineConfig(), make_line)
skills = skill_vae.MODEL
