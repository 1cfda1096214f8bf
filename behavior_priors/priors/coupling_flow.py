"""Coupling flows over actions: what the real-NVP and the spline flow have in common.

Noise `z ~ N(0, I)` becomes an action `a = f(z; s)` through invertible couplings that see features
of the observation `s`. In each of them one half of the vector stays, and a network says after it
how every dimension of the other half is moved (Dinh et al. 2017, "Density estimation using Real
NVP"). `f` is fitted by maximum likelihood, which is exact:
`log p(a | s) = log N(z; 0, I) - log|det df/dz|` with `z = f^{-1}(a; s)`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import FewOrZero, InnerShare, Range, Weight, Width
from behavior_priors.distributions import HalfSplitCoupling, ScaledTanh
from behavior_priors.errors import UserError
from behavior_priors.networks import MLP, Initializer
from behavior_priors.priors.state_features import (
    FeaturesConfig,
    broadcast_batch,
    make_state_features,
)
from behavior_priors.types import (
    ActionSpec,
    Array,
    Metrics,
    Observation,
    ObservationSpec,
    Params,
    Prior,
    PRNGKey,
)


@dataclass(frozen=True)
class CouplingFlowConfig(FeaturesConfig):
    """The couplings and the end of the flow, beside what it sees.

    Attributes:
      couplings: number of couplings; they alternate between the halves of the action, so that one
        alone would leave half of it as it is.
      conditioner_widths: hidden layers of the network inside each coupling.
      squash: whether a tanh ends the flow, so that decoded actions keep the action's bounds.
      squash_limit: with squash, actions beyond this share of the bound count as being at it.
      padding: dummy dimensions joined to the action, dropped again when decoding.
      padding_noise: standard deviation of the noise that fills the dummy dimensions in training.
    """

    couplings: Annotated[int, Range(least=2, most=1_000)] = 4
    conditioner_widths: tuple[Width, ...] = (256, 256)
    squash: bool = False
    squash_limit: InnerShare = 0.999
    padding: FewOrZero = 0
    padding_noise: Weight = 0.1


class Transform(NamedTuple):
    """The elementwise transform inside each coupling.

    Attributes:
      numbers: that it takes for each dimension that is moved.
      bijector: from a conditioner's output `[..., numbers * moved]` to what moves `[..., moved]`.
    """

    numbers: int
    bijector: Callable[[Array], distrax.Bijector]


def make_coupling_flow(
    config: CouplingFlowConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    transform: Transform,
    *,
    name: str,
    who: str,
    kernel_init: Initializer | None = None,
    final_init: Initializer = nn.initializers.zeros,
) -> Prior:
    """A behaviour prior that is a flow of couplings; every function accepts any leading batch axes.

    Latents have `action_spec.size + config.padding` dimensions and the prior `N(0, I)`; they and
    actions broadcast against features. `decode` returns the flow's output: without `squash` that
    may lie outside the action's bounds, and it is the environment that clips. With `padding`,
    `decode` drops the dummy dimensions, `invert` takes them to be zero, and there is no `log_prob`,
    because the dummy dimensions cannot be integrated out in closed form.

    `log_prob` and the loss are in nats and in the measure of the action itself, the Jacobian of the
    tanh included. The loss and its metric `nll` are the mean negative log-likelihood of an action,
    with `padding` that of an action joined with its noise. With `squash`, an action beyond
    `squash_limit` times the bound is taken to be at it, by `invert`, `log_prob` and the loss alike.

    Args:
      config: what the flow looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.
      transform: of the half that is moved.
      name: of the prior.
      who: sees and halves, for messages, such as "the real-NVP".
      kernel_init: of all layers but the conditioners' last ones; LeCun's by default.
      final_init: of those; zeros by default.

    Raises:
      UserError: the config does not fit the specs or itself.
    """
    _check(config, who, action_spec)
    event_size = action_spec.size + config.padding
    split = event_size // 2
    kernel_init = kernel_init or nn.initializers.lecun_normal()

    state_features = make_state_features(config, who, observation_spec, kernel_init)
    swaps = [layer % 2 == 1 for layer in range(config.couplings)]
    conditioners: list[Any] = [
        MLP(
            (*config.conditioner_widths, transform.numbers * moved),
            kernel_init=kernel_init,
            final_init=final_init,
        )
        for moved in (split if swap else event_size - split for swap in swaps)
    ]
    squash = None
    if config.squash and action_spec.bound is not None:
        squash = distrax.Block(ScaledTanh(action_spec.bound, config.squash_limit), ndims=1)
    base = distrax.MultivariateNormalDiag(jnp.zeros(event_size))

    def init(key: PRNGKey) -> Params:
        encoder_key, *conditioner_keys = jax.random.split(key, 1 + config.couplings)
        encoder_params, features = state_features.init(encoder_key)
        halves = [jnp.zeros(event_size - split if swap else split) for swap in swaps]
        return {
            "encoder": encoder_params,
            "conditioners": [
                conditioner.init(k, jnp.concatenate([features, half]))
                for conditioner, k, half in zip(conditioners, conditioner_keys, halves, strict=True)
            ],
        }

    def encode(params: Params, observation: Observation) -> Array:
        return state_features.encode(params["encoder"], observation)

    def mover(layer: int, params: Params, features: Array, half: Array) -> distrax.Bijector:
        """The bijector of the other half."""
        inputs = jnp.concatenate([features, half], axis=-1)
        return transform.bijector(conditioners[layer].apply(params["conditioners"][layer], inputs))

    def flow(params: Params, features: Array) -> distrax.Bijector:
        """From latents to actions joined with the dummy dimensions."""
        layers = [
            HalfSplitCoupling(split, functools.partial(mover, layer, params, features), swap)
            for layer, swap in enumerate(swaps)
        ]
        if squash is not None:
            layers.append(squash)
        return distrax.Chain(layers[::-1])

    def decode(params: Params, latent: Array, features: Array) -> Array:
        latent, features = broadcast_batch(latent, features)
        return flow(params, features).forward(latent)[..., : action_spec.size]

    def invert(params: Params, action: Array, features: Array) -> Array:
        dummy = jnp.zeros((*action.shape[:-1], config.padding))
        event, features = broadcast_batch(jnp.concatenate([action, dummy], axis=-1), features)
        return flow(params, features).inverse(event)

    def distribution(params: Params, features: Array) -> distrax.Distribution:
        # the base has the batch axes, so that samples do
        zeros = jnp.zeros((*features.shape[:-1], event_size))
        return distrax.Transformed(distrax.MultivariateNormalDiag(zeros), flow(params, features))

    def log_prob(params: Params, event: Array, features: Array) -> Array:
        event, features = broadcast_batch(event, features)
        return distrax.Transformed(base, flow(params, features)).log_prob(event)

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        action = batch["action"]
        noise = jax.random.normal(key, (*action.shape[:-1], config.padding))
        event = jnp.concatenate([action, config.padding_noise * noise], axis=-1)
        nll = -log_prob(params, event, encode(params, batch["observation"])).mean()
        return nll, {"nll": nll}

    return Prior(
        name=name,
        latent_size=event_size,
        action_size=action_spec.size,
        init=init,
        encode=encode,
        decode=decode,
        loss=loss,
        invert=invert,
        log_prob=None if config.padding else log_prob,
        distribution=None if config.padding else distribution,
        observation=config.observation,
    )


def _check(config: CouplingFlowConfig, who: str, action_spec: ActionSpec) -> None:
    """Raises a `UserError` where the config does not fit the action or itself."""
    check_ranges(config)
    if action_spec.size + config.padding < 2:
        raise UserError(
            f"padding={config.padding} should be 1 here: {who} halves the action, which has size "
            f"{action_spec.size}"
        )
    if config.squash and action_spec.bound is None:
        raise UserError("squash=True needs bounded actions; these have no bound")
