"""A learner is three pure functions, in the image of `optax.GradientTransformation`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from behavior_priors.types import (
    Array,
    Context,
    Metrics,
    Observation,
    Params,
    PRNGKey,
    TaskBelief,
    Transition,
)

LearnerState = Any
"""A frozen dataclass pytree with at least `policy` (what `act` needs) and `step` `[]` int32."""


Notes = Any
"""A pytree of arrays `[...]` that a learner wants back beside what its action led to, such as the
log-density of the action."""


class Choice(NamedTuple):
    """What a policy does.

    Attributes:
      action: `[..., size]`.
      notes: the learner's own, which come back to it in `Transition.notes`.
    """

    action: Array
    notes: Notes = ()


class ActFn(Protocol):
    """Chooses an action; the key is consumed (and unused when not exploring)."""

    def __call__(
        self, policy: Params, observation: Observation, key: PRNGKey, *, explore: bool
    ) -> Choice: ...


class Learner(NamedTuple):
    """`init` makes a state, `update` improves it with one batch, `act` uses its policy.

    None of them is jitted, and all of them survive `jax.vmap` over seeds.
    """

    init: Callable[[PRNGKey], LearnerState]
    update: Callable[[LearnerState, Transition], tuple[LearnerState, Metrics]]
    act: ActFn


class Actor(Protocol):
    """Whatever can act: a learner of any kind."""

    @property
    def act(self) -> ActFn: ...


class OnPolicyLearner(NamedTuple):
    """A learner that learns from what its present policy has just done, and then forgets it.

    `init` and `act` are those of `Learner`, so that whatever only acts takes both kinds.

    Attributes:
      init: makes a state.
      update: `(state, transitions) -> (state, metrics)` of a round of experience with axes
        `[time, envs]`, in order, that `act` made with the state's policy, exploring.
      act: chooses an action.
      epochs: how often an update goes through its round.
      minibatches: of how many parts it takes one gradient step each; a round's number of
        transitions is a multiple of it.
    """

    init: Callable[[PRNGKey], LearnerState]
    update: Callable[[LearnerState, Transition], tuple[LearnerState, Metrics]]
    act: ActFn
    epochs: int
    minibatches: int


class MetaLearner(NamedTuple):
    """A learner of many tasks at once that tells them apart by what it has seen of each.

    A policy acts on the environment's observations and one more array, the task's description,
    drawn from the belief that a context leads to.

    Attributes:
      init: makes a state.
      update: `(state, context, batch) -> (state, metrics)` of contexts `[tasks, transitions]` and
        transitions `[tasks, batch]` of the same tasks, drawn apart from each other.
      infer: `(policy, context) -> belief` about the task.
      act: chooses an action, where observations have the description.
      description: the name of that array.
    """

    init: Callable[[PRNGKey], LearnerState]
    update: Callable[[LearnerState, Context, Transition], tuple[LearnerState, Metrics]]
    infer: Callable[[Params, Context], TaskBelief]
    act: ActFn
    description: str
