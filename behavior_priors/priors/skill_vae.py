"""Skills from sequences of actions, and a prior over them: the skill model of SPiRL.

Pertsch et al. 2020, "Accelerating Reinforcement Learning with Learned Skill Priors", section 3.2: a
variational autoencoder turns `H` actions into a latent, the skill, and a prior learns which skills
follow an observation. With the closed-loop decoder of the authors' later code a skill is a policy,
which sees the observation of every step, with the open-loop one of the paper a fixed sequence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_observation, check_ranges
from behavior_priors.config.ranges import Few, Limit, Positive, Width
from behavior_priors.distributions import gaussian_divergence, policy_distribution
from behavior_priors.errors import UserError
from behavior_priors.networks import MLP
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.mixture import MixtureConfig, make_mixture
from behavior_priors.priors.model import Model
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.priors.skill_networks import LIMITS, Encoder, OpenLoopDecoder
from behavior_priors.torso import Sight
from behavior_priors.types import (
    ActionSpec,
    Array,
    Metrics,
    Observation,
    ObservationSpec,
    Params,
    Prior,
    PRNGKey,
    SkillModel,
)


@dataclass(frozen=True)
class SkillVAEConfig:
    """What skills look like and how they are learned.

    Divergences are sums over the skill's dimensions, in nats, and the reconstruction is a sum over
    steps and the action's dimensions, as in the evidence lower bound. The authors' code averages
    all of these; `summed_beta` converts their weights.

    Attributes:
      horizon: steps of a skill.
      latent_size: dimensions of a skill.
      prior_observation: what the prior over skills sees; empty for all.
      decoder_observation: what the closed-loop decoder, and the encoder beside it, see; empty for
        all.
      decoder: closed_loop for a decoder that sees each step's observation, open_loop for one that
        sees none.
      beta: weight of the posterior's divergence from N(0, I).
      target_divergence: tune beta until the divergence from N(0, I) is this; none keeps beta.
      averaged: average where the authors' code does; beta and target_divergence are then in its
        units.
      embedding_width: layer in front of the encoder's LSTM.
      lstm_width: of the encoder, and of the open-loop decoder.
      decoder_widths: hidden layers of the closed-loop decoder.
      prior: family of the prior over skills.
      prior_widths: hidden layers of the prior.
      prior_components: Gaussians in a mixture.
      prior_couplings: affine couplings of a real-NVP.
      prior_objective: nll and forward for a prior that covers the posteriors, by samples and in
        closed form; reverse for one that seeks their mode. The latter two need a Gaussian.
    """

    horizon: Few = 10
    latent_size: Width = 10
    prior_observation: tuple[str, ...] = ()
    decoder_observation: tuple[str, ...] = ()
    decoder: Literal["closed_loop", "open_loop"] = "closed_loop"
    beta: Positive = 1e-2
    target_divergence: Limit | None = None
    averaged: bool = False
    embedding_width: Width = 32
    lstm_width: Width = 128
    decoder_widths: tuple[Width, ...] = (128, 128, 128)
    prior: Literal["gaussian", "mixture", "real_nvp"] = "gaussian"
    prior_widths: tuple[Width, ...] = (128, 128, 128)
    prior_components: Few = 5
    prior_couplings: Few = 4
    prior_objective: Literal["nll", "forward", "reverse"] = "nll"


def summed_beta(beta: float, horizon: int, action_size: int, latent_size: int) -> float:
    """The weight in sums that does what the authors' code does with `beta` in averages.

    There the reconstruction is a mean over `horizon * action_size` numbers and the divergence one
    over `latent_size`.
    """
    return beta * horizon * action_size / latent_size


def make_skill_vae(
    config: SkillVAEConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> SkillModel:
    """The skill model; every function accepts any leading batch axes.

    The loss is the negative evidence lower bound with unit variance, in nats and without its
    constant, and the prior's own loss, a divergence: posteriors are targets for the prior, which
    they never see a gradient of. Its metrics: `reconstruction`, `mse` (of an action's dimension),
    `divergence` (from N(0, I), summed), `beta`, `prior_divergence` (of the prior from posteriors),
    and `prior_nll` of a posterior's sample.

    Args:
      config: what skills look like.
      observation_spec: what observations look like.
      action_spec: what actions look like. Decoded actions may lie outside of their bounds.

    Raises:
      UserError: the config does not fit the specs or itself.
    """
    _check(config, observation_spec)
    sight = Sight(observation_spec, config.decoder_observation or tuple(observation_spec))
    closed = config.decoder == "closed_loop"
    size, horizon = action_spec.size, config.horizon
    skill_prior = make_skill_prior(config, observation_spec, None)
    encoder: Any = Encoder(
        config.embedding_width, config.lstm_width, config.latent_size, sight if closed else None
    )
    decoder: Any = (
        MLP((*config.decoder_widths, size), sight=sight)
        if closed
        else OpenLoopDecoder(config.lstm_width, size)
    )

    def init(key: PRNGKey) -> Params:
        encoder_key, decoder_key, prior_key = jax.random.split(key, 3)
        skill = jnp.zeros(config.latent_size)
        steps = {n: jnp.broadcast_to(x, (horizon, *x.shape)) for n, x in sight.blank().items()}
        params = {
            "encoder": encoder.init(encoder_key, jnp.zeros((horizon, size)), steps),
            "prior": skill_prior.init(prior_key),
            "log_beta": jnp.asarray(math.log(config.beta), jnp.float32),
        }
        if closed:
            params["decoder"] = decoder.init(decoder_key, sight.blank(), skill)
        else:
            params["decoder"] = decoder.init(
                decoder_key, skill, method=lambda d, skill: d(d.begin(skill))
            )
        return params

    def posterior(params: Params, observation: Observation, action: Array) -> tuple[Array, Array]:
        return encoder.apply(params["encoder"], action, observation)

    def infer(params: Params, observation: Observation, action: Array) -> Any:
        return policy_distribution(*posterior(params, observation, action), None)

    def begin(params: Params, skill: Array, _: Observation) -> Any:
        if closed:
            return skill
        return decoder.apply(params["decoder"], skill, method="begin")

    def advance(params: Params, plan: Any, observation: Observation) -> tuple[Array, Any]:
        if not closed:
            return decoder.apply(params["decoder"], plan)
        return decoder.apply(params["decoder"], observation, plan), plan

    def reconstruct(params: Params, skill: Array, observation: Observation) -> Array:
        """The actions `[batch, horizon, size]` of skills `[batch, latent_size]`."""
        plan = begin(params, skill, observation)
        if closed:
            # steps do not depend on each other here: one product for all of them
            flat = {n: x.reshape(-1, *x.shape[2:]) for n, x in observation.items()}
            action, _ = advance(params, jnp.repeat(plan, horizon, axis=0), flat)
            return action.reshape(-1, horizon, size)
        actions = []
        for _ in range(horizon):
            action, plan = advance(params, plan, observation)
            actions.append(action)
        return jnp.stack(actions, axis=1)

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        observation, action = batch["observation"], batch["action"]
        mean, log_std = posterior(params, observation, action)
        skill = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        error = jnp.square(reconstruct(params, skill, observation) - action)
        divergence = gaussian_divergence(mean, log_std, 0.0 * mean, 0.0 * log_std).mean()
        reconstruction, shown = 0.5 * error.sum((1, 2)).mean(), divergence
        if config.averaged:
            reconstruction = reconstruction / (horizon * size)
            shown = divergence / config.latent_size
        log_beta = params["log_beta"]
        total = reconstruction + jnp.exp(jax.lax.stop_gradient(log_beta)) * shown
        if config.target_divergence is not None:
            # dual descent, of which only the gradient counts: beta falls while there is room
            slope = log_beta * jax.lax.stop_gradient(config.target_divergence - shown)
            total = total + slope - jax.lax.stop_gradient(slope)
        first = {name: x[:, 0] for name, x in observation.items()}
        target = jax.lax.stop_gradient((mean, log_std, skill))
        prior_loss, prior_nll = _prior_loss(config, skill_prior, params["prior"], first, *target)
        return total + prior_loss, {
            "reconstruction": reconstruction,
            "mse": error.mean(),
            "divergence": divergence,
            "beta": jnp.exp(log_beta),
            "prior_divergence": prior_loss,
            "prior_nll": prior_nll,
        }

    return SkillModel(
        name=f"{config.decoder} skill model",
        horizon=horizon,
        latent_size=config.latent_size,
        action_size=size,
        init=init,
        infer=infer,
        begin=begin,
        advance=advance,
        loss=loss,
        prior=skill_prior,
        prior_params=lambda params: params["prior"],
        prior_within=lambda bound: make_skill_prior(config, observation_spec, bound),
        observation=_seen(config, observation_spec),
    )


def make_skill_prior(
    config: SkillVAEConfig, observation_spec: ObservationSpec, bound: float | None
) -> Prior:
    """The prior over skills.

    Args:
      config: of the skill model.
      observation_spec: what observations look like.
      bound: None; or read a Gaussian's parameters as those of one that is squashed into it, as the
        authors' reinforcement learning does.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    spec, names = ActionSpec(config.latent_size, bound), config.prior_observation
    if config.prior == "gaussian":
        low, high = LIMITS
        gaussian = GaussianConfig(names, config.prior_widths, low, high)
        return make_gaussian(gaussian, observation_spec, spec)
    if config.prior == "mixture":
        mixture = MixtureConfig(names, config.prior_components, config.prior_widths)
        return make_mixture(mixture, observation_spec, spec)
    flow = RealNVPConfig(
        observation=names,
        couplings=config.prior_couplings,
        encoder_widths=config.prior_widths,
        conditioner_widths=config.prior_widths[-1:],
    )
    return make_real_nvp(flow, observation_spec, spec)


def _prior_loss(
    config: SkillVAEConfig,
    prior: Prior,
    params: Params,
    observation: Observation,
    mean: Array,
    log_std: Array,
    skill: Array,
) -> tuple[Array, Array]:
    """The prior's divergence from fixed posteriors, and `-log p` of samples of them.

    The posteriors' entropy, whose gradient is zero here, makes a divergence of the likelihood: 0
    for a prior that knows all that they know.
    """
    features = prior.encode(params, observation)
    assert prior.log_prob is not None
    nll = -prior.log_prob(params, skill, features).mean()
    if config.prior_objective == "nll":
        return nll - policy_distribution(mean, log_std, None).entropy().mean(), nll
    ours, theirs = jnp.split(features, 2, axis=-1), (mean, log_std)
    pair = (*theirs, *ours) if config.prior_objective == "forward" else (*ours, *theirs)
    return gaussian_divergence(*pair).mean(), nll


def _seen(config: SkillVAEConfig, observation_spec: ObservationSpec) -> tuple[str, ...]:
    """Names of what prior and decoder see."""
    every = tuple(observation_spec)
    seen = {*(config.prior_observation or every), *(config.decoder_observation or every)}
    return tuple(name for name in every if name in seen)


def _check(config: SkillVAEConfig, observation_spec: ObservationSpec) -> None:
    """Raises a `UserError` where the config does not fit the spec or itself."""
    for field in ("prior_observation", "decoder_observation"):
        check_observation(field, "the skill model", getattr(config, field), observation_spec)
    check_ranges(config)
    if config.prior_objective != "nll" and config.prior != "gaussian":
        raise UserError(
            f"prior_objective={config.prior_objective} needs prior=gaussian; the {config.prior} "
            "learns by nll"
        )


MODEL = Model(
    SkillVAEConfig(),
    make_skill_vae,
    fit={"batch_size": 128, "gradient_clip": 10.0, "keep": "last"},
)
