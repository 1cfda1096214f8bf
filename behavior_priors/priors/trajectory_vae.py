"""Variational autoencoder over the actions of whole episodes: TrajRL's way to act.

Ghadirzadeh et al. 2020 (arXiv:2007.13134), as PARROT is compared with it: Singh, Liu et al. 2021,
section 5 and appendix D. A latent stands for all actions of an episode, so that a task is a
decision of one step: a policy sees where an episode begins, chooses the latent, and is told the sum
of the rewards. Nothing that happens on the way changes what is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Horizon
from behavior_priors.distributions import policy_distribution
from behavior_priors.errors import UserError
from behavior_priors.priors.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    negative_bound,
    variables,
)
from behavior_priors.priors.model import Model
from behavior_priors.types import (
    STATISTICS,
    ActionSpec,
    Array,
    Metrics,
    Observation,
    ObservationSpec,
    Params,
    PRNGKey,
    SkillModel,
)


@dataclass(frozen=True)
class TrajectoryVAEConfig(AutoencoderConfig):
    """What the autoencoder looks like and how it is learned.

    Attributes:
      horizon: steps of an episode; none for the environment's time limit.
    """

    horizon: Horizon | None = None


def make_trajectory_vae(
    config: TrajectoryVAEConfig, _: ObservationSpec, action_spec: ActionSpec
) -> SkillModel:
    """A model whose skills are episodes, from `z ~ N(0, I)`; any leading batch axes.

    It sees no observation. Episodes that end early are filled up with zeros, and what is decoded
    there counts for nothing. Decoded actions may lie outside of their bounds, and it is the
    environment that clips. The loss's metrics: `reconstruction`, `divergence` and `beta`.

    Args:
      config: what it looks like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit itself.
    """
    check_ranges(config)
    if config.horizon is None:
        raise UserError("horizon should be the steps of an episode")
    horizon, size = config.horizon, action_spec.size
    network: Any = Autoencoder(config, horizon * size)

    def nothing(array: Array) -> Array:
        return array[..., :0]

    def flatten(action: Array) -> Array:
        return action.reshape(*action.shape[:-2], horizon * size)

    def init(key: PRNGKey) -> Params:
        event, noise = jnp.zeros((1, horizon * size)), jnp.zeros((1, config.latent_size))
        return dict(network.init(key, event, nothing(event), noise, learning=False))

    def infer(params: Params, _: Observation, action: Array) -> Any:
        event = flatten(action)
        mean, log_std = network.apply(variables(params), event, nothing(event), method="encode")
        return policy_distribution(mean, log_std, None)

    def begin(params: Params, skill: Array, _: Observation) -> Array:
        actions = network.apply(variables(params), skill, nothing(skill), method="decode")
        return actions.reshape(*skill.shape[:-1], horizon, size)

    def advance(_: Params, plan: Array, __: Observation) -> tuple[Array, Array]:
        return plan[..., 0, :], jnp.roll(plan, -1, axis=-2)

    def run(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, *, learning: bool
    ) -> tuple[tuple[Array, Array, Array], Any]:
        event = flatten(jnp.where(batch["counts"][..., None], batch["action"], 0.0))
        noise = jax.random.normal(key, (len(event), config.latent_size))
        mutable = [STATISTICS] if learning else []
        return network.apply(
            variables(params), event, nothing(event), noise, learning=learning, mutable=mutable
        )

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        (mean, log_std, decoded), _ = run(params, batch, key, learning=step is not None)
        errors = jnp.square(decoded.reshape(batch["action"].shape) - batch["action"]).sum(-1)
        error = jnp.sum(errors, axis=-1, where=batch["counts"])
        return negative_bound(config, mean, log_std, error, step)

    def statistics(params: Params, batch: Mapping[str, Any], key: PRNGKey) -> Any:
        return run(params, batch, key, learning=True)[1][STATISTICS]

    return SkillModel(
        name="trajectory_vae",
        horizon=horizon,
        latent_size=config.latent_size,
        action_size=size,
        init=init,
        infer=infer,
        begin=begin,
        advance=advance,
        loss=loss,
        statistics=statistics if config.batch_norm else None,
        is_whole=True,
    )


MODEL = Model(TrajectoryVAEConfig(), make_trajectory_vae, fit={"keep": "last"})
