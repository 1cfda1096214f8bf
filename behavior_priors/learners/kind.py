"""What a file of learners tells the registry about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from behavior_priors.learner import Learner, MetaLearner, OnPolicyLearner
from behavior_priors.types import (
    ActionSpec,
    ContextEncoder,
    Observation,
    ObservationSpec,
    Params,
)

PriorFn = Callable[[Observation], Any]
"""`observation -> distribution` over actions, with a `log_prob`; its parameters are fixed."""


class Guidance(NamedTuple):
    """Old behaviour, as a learner is given it.

    Attributes:
      start: parameters of the policy to start from.
      prior: what the policy is to stay close to.
      divergence: how that is measured, a `kl_sac.DivergenceConfig`.
    """

    start: Params | None = None
    prior: PriorFn | None = None
    divergence: Any = None


class LearnerKind(NamedTuple):
    """A learner.

    Attributes:
      config: its hyper-parameters by default, a frozen dataclass: its fields are the flags.
      make: `(config, observation_spec, action_spec, guidance) -> learner`.
      takes: what of a `Guidance` it can use, of `start` and `prior`.
      on_policy: it learns from what its present policy has just done, and makes an
        `OnPolicyLearner`.
    """

    config: Any
    make: Callable[[Any, ObservationSpec, ActionSpec, Guidance], Learner | OnPolicyLearner]
    takes: tuple[str, ...] = ()
    on_policy: bool = False


class MetaKind(NamedTuple):
    """A learner of many tasks, which an encoder of contexts tells apart.

    Attributes:
      config: hyper-parameters of acting and learning, a frozen dataclass: its fields are the flags.
      inference: those of the encoder's training, which are flags of the method.
      make: `(inference, config, encoder, observation_spec, action_spec) -> learner`.
    """

    config: Any
    inference: Any
    make: Callable[[Any, Any, ContextEncoder, ObservationSpec, ActionSpec], MetaLearner]
