"""What a method is: a choice of the ways in which old behaviour enters, and of what learns."""

from __future__ import annotations

import dataclasses

from behavior_priors.config.ranges import Limit, LogStd, Nats
from behavior_priors.networks import StdLimit

THROUGH_PRIOR = "through.prior"
"""The prior over skills that belongs to the model that a method acts through."""

NONE = "none"
"""How a command line says that a method has no such part."""


@dataclasses.dataclass(frozen=True)
class Latents:
    """How a policy chooses latents, where it acts through a model.

    Attributes:
      bound: latents are this times tanh of a Gaussian; none for the Gaussian itself.
      mean_bound: means of the Gaussian stay within this; none for the learner's own bound.
      max_log_std: upper limit of the Gaussian's log standard deviations, which at 0 is never wider
        than N(0, I); none for the learner's own limit.
      std_limit: how it is kept: clip, outside of which there is no gradient, or tanh, which never
        reaches it; none for the learner's own way.
      target_entropy: of the policy over latents, nats; none derives it from the bound.
      squash_actions: execute the tanh of actions that a skill decodes.
      residual: the policy also chooses a correction of each decoded action, of at most this much
        in every dimension, the same for all actions of a skill; none for what is decoded.
    """

    bound: Limit | None = None
    mean_bound: Limit | None = None
    max_log_std: LogStd | None = None
    std_limit: StdLimit | None = None
    target_entropy: Nats | None = None
    squash_actions: bool = False
    residual: Limit | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A method.

    Parts have names, `module:name` for one of the user's own, or, those that are learned from data,
    the folder of a run that has one; None where the method has no such part.

    Attributes:
      through: the model that the agent acts through: its action is a latent.
      close_to: the prior that the policy pays a divergence from; `through.prior` for the one over
        the latents that it chooses.
      start_from: the prior that the policy starts as.
      explore_with: the prior that chooses some of the actions while the policy is learned;
        `through.prior` as above.
      infer: the encoder that says which task it is, from what has been seen of it.
      learner: what learns.
      latents: how latents are chosen, by default.
    """

    through: str | None = None
    close_to: str | None = None
    start_from: str | None = None
    explore_with: str | None = None
    infer: str | None = None
    learner: str = "sac"
    latents: Latents = Latents()

    def parts(self) -> tuple[tuple[str, str], ...]:
        """The ways in which models enter, and their names."""
        ways = ("through", "close_to", "start_from", "explore_with")
        named = ((way, getattr(self, way)) for way in ways)
        return tuple((way, name) for way, name in named if name not in (None, THROUGH_PRIOR))


WAYS = ("through", "close_to", "start_from", "explore_with", "infer", "learner")
"""The fields of a method that the command line may choose otherwise."""

NEAR_PRIOR = Latents(mean_bound=2.0, max_log_std=0.0)
"""Latents where `N(0, I)`, which the model was learned with, has its mass."""

METHODS = {
    "own": Method(),
    "sac": Method(),
    "parrot": Method(through="real_nvp", latents=NEAR_PRIOR),
    "parrot_spline": Method(through="spline", latents=NEAR_PRIOR),
    "hirl": Method(through="conditional_vae", latents=NEAR_PRIOR),
    "dsrl": Method(through="flow_matching", latents=NEAR_PRIOR),
    "prior_explore": Method(explore_with="real_nvp"),
    "traj_rl": Method(through="trajectory_vae", latents=NEAR_PRIOR),
    "ssp": Method(through="skill_vae", latents=Latents(bound=2.0)),
    "spirl": Method(through="skill_vae", close_to=THROUGH_PRIOR, start_from=THROUGH_PRIOR),
    "flat_prior": Method(close_to="gaussian", start_from="gaussian"),
    "bc_sac": Method(start_from="gaussian"),
    "bc_ppo": Method(start_from="gaussian", learner="ppo"),
    "pearl": Method(infer="product_of_gaussians"),
}
"""PARROT (Singh et al. 2021), SPiRL (Pertsch et al. 2020) and what they are compared with, PEARL
(Rakelly et al. 2019), DSRL's idea (Wagenmaker et al. 2025); `own` is what the command line makes of
it."""

LABELS = {
    "own": "own method",
    "sac": "SAC",
    "parrot": "PARROT",
    "parrot_spline": "PARROT, splines",
    "hirl": "HIRL",
    "dsrl": "DSRL",
    "prior_explore": "Prior-explore",
    "traj_rl": "TrajRL",
    "ssp": "SSP without prior",
    "spirl": "SPiRL",
    "flat_prior": "flat prior",
    "bc_sac": "BC+SAC",
    "bc_ppo": "BC+PPO",
    "pearl": "PEARL",
}
"""Methods as figures and videos call them."""
