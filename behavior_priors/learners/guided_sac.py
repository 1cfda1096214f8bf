"""Soft actor-critic as the registry has it: close to a prior or not, in either version."""

from __future__ import annotations

from behavior_priors.learner import Learner
from behavior_priors.learners.kind import Guidance, LearnerKind
from behavior_priors.learners.kl_sac import make_kl_sac
from behavior_priors.learners.sac import entropy_penalty, make_update
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.learners.sac_value import ValueSACConfig, make_steps_of
from behavior_priors.types import ActionSpec, ObservationSpec


def make_guided_sac(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    guidance: Guidance,
) -> Learner:
    """Soft actor-critic, which stays close to a prior instead of random where there is one.

    Raises:
      UserError: as `make_sac`, or as `make_kl_sac`.
    """
    specs = (observation_spec, action_spec)
    if guidance.prior is not None:
        return make_kl_sac(config, guidance.divergence, *specs, guidance.prior, guidance.start)
    steps = make_steps_of(config, *specs, entropy_penalty(config, action_spec), guidance.start)
    return Learner(steps.init, make_update(steps), steps.act)


KIND = LearnerKind(ValueSACConfig(), make_guided_sac, takes=("start", "prior"))
