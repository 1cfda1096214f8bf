"""The interfaces of the house: what an environment, a prior and a batch are.

Everything that a user may supply has a named type here. Nothing in this module computes.

Shapes in backticks leave out the batch axes, because environments and priors are written for one
element and mapped with `jax.vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.errors import UserError

Array = jax.Array
PRNGKey = jax.Array
Params = Any
"""A pytree of arrays."""

Observation = Mapping[str, Array]
"""Named arrays; every network is given the list of names that it sees."""

Metrics = Mapping[str, Array]
"""Named scalars."""


class ArraySpec(NamedTuple):
    """Shape, dtype and typical values of one named array.

    Networks see `(x - location) / scale`; `location` and `scale` are in the array's own units and
    broadcast against `shape`.
    """

    shape: tuple[int, ...]
    dtype: Any = np.float32
    location: Any = 0.0
    scale: Any = 1.0


ObservationSpec = Mapping[str, ArraySpec]


class ActionSpec(NamedTuple):
    """Actions are vectors `[size]` in `[-bound, bound]`; `bound=None` leaves them unbounded.

    An unbounded action is one that some decoder maps into an environment's own bounds, such as the
    Gaussian latent of a flow.
    """

    size: int
    bound: float | None = 1.0


class Transition(NamedTuple):
    """One step of experience.

    `terminated` ends the task and must not be bootstrapped through; `truncated` ends the recording
    (a time limit, a diverged simulation) and must be. `next_observation` is the one that the step
    led to, also at an episode's end. `valid` is False where the simulation diverged: such a
    transition never enters replay. `notes` is what the learner wanted back beside its action.
    """

    observation: Observation
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    next_observation: Observation
    valid: Array
    notes: Any = ()


class State(NamedTuple):
    """One environment between two steps.

    Attributes:
      key: the environment's own source of randomness.
      observation: what may be shown to networks.
      reward: `[]`, of the step that led here; 0 after a reset.
      terminated: `[]` bool, the task has ended.
      truncated: `[]` bool, the recording ends here, the task does not.
      diverged: `[]` bool, the step that led here left the simulation without a meaning.
      time: `[]` int32, steps since the reset.
      success: `[]` bool, the task's condition holds now.
      simulation: whatever the environment needs to go on; opaque to everyone else.
    """

    key: PRNGKey
    observation: Observation
    reward: Array
    terminated: Array
    truncated: Array
    diverged: Array
    time: Array
    success: Array
    simulation: Any


ResetFn = Callable[[PRNGKey], State]
"""Begins an episode. The key is consumed."""

StepFn = Callable[[State, Array], State]
"""Advances one environment by one action `[action_spec.size]`."""


StepThenResetFn = Callable[[State, Array], tuple[State, State]]
"""`(state, action) -> (stepped, following)`; `following` is where to go on from, the next episode's
first state if this one is over, else `stepped`."""

ReleaseFn = Callable[[State], None]
"""Gives up episodes under way, states `[...]`, so that what they occupy can be used again."""

DemonstrateFn = Callable[[State, PRNGKey], Array]
"""A scripted policy's action `[action_spec.size]`; the key is consumed."""

RenderFn = Callable[[State, int, int], Array]
"""`(state, width, height) -> image [height, width, 3]` uint8."""


Task = Any
"""A pytree of arrays: what distinguishes one task of an environment from another."""

SampleTasksFn = Callable[[PRNGKey, int], Task]
"""`(key, count) -> tasks [count, ...]`; the key is consumed."""

BeginTaskFn = Callable[[Task, PRNGKey], State]
"""Begins an episode of a task. The key is consumed."""

TaskOfFn = Callable[[State], Task]
"""The task that a state's episode is of."""

ScoreFn = Callable[[State], Array]
"""What one state is worth by some measure of the task's own `[]`, such as a tower's height."""


class Tasks(NamedTuple):
    """The tasks of an environment: a distribution over its parameters.

    A state holds the task that it belongs to, and `Env.step` takes it from there, so that one
    function steps any of them; `Env.reset` begins an episode of a random one.

    Attributes:
      sample: draws tasks.
      begin: begins an episode of one.
      of: the task of a state.
      context_reward: `(state) -> []`, the reward by which a task can be told and a policy is
        judged, where learning is helped by a more telling one; None for `State.reward`.
    """

    sample: SampleTasksFn
    begin: BeginTaskFn
    of: TaskOfFn
    context_reward: ScoreFn | None = None


class Env(NamedTuple):
    """A pure, unbatched environment: `jax.vmap` its functions for many.

    `step` neither resets nor loses anything: see `envs.base.step_and_reset` for what happens at an
    episode's end.

    Attributes:
      name: what the registry calls it.
      observation_spec: names, shapes and typical values of what `State.observation` holds.
      action_spec: what `step` accepts.
      episode_length: steps after which the environment truncates.
      reset: begins an episode.
      step: advances by one action.
      demonstrate: a scripted policy that solves the task most of the time, if there is one.
      render: an image of a state, if there is a way.
      measures_success: whether `State.success` means anything; else returns are all there is.
      scores: further measures of the state in which an episode ends, by name.
      step_then_reset: for an environment whose episodes live outside of its states, such as on the
        host: such a state can be stepped once, by this process only, and a reset is a deed.
      release: for such an environment, gives up episodes `[...]` that will not be stepped any more.
      steps_per_action: steps of the task itself that one action takes, where it stands for several.
      side_by_side: the most episodes that a rollout runs at once, because each takes memory of its
        own; None for all of them.
      info: facts for metadata, such as the physics engine and the table of scenes; `action_low` and
        `action_high`, lists of numbers, where -1 and 1 stand for the environment's own bounds.
      tasks: what the environment's tasks are, where it has several that observations do not tell.
    """

    name: str
    observation_spec: ObservationSpec
    action_spec: ActionSpec
    episode_length: int
    reset: ResetFn
    step: StepFn
    demonstrate: DemonstrateFn | None = None
    render: RenderFn | None = None
    measures_success: bool = True
    scores: Mapping[str, ScoreFn] = {}
    step_then_reset: StepThenResetFn | None = None
    release: ReleaseFn | None = None
    steps_per_action: int = 1
    side_by_side: int | None = None
    info: Mapping[str, Any] = {}
    tasks: Tasks | None = None


InitFn = Callable[[PRNGKey], Params]
"""Initial parameters. The key is consumed."""

EncodeFn = Callable[[Params, Observation], Array]
"""Observations to features `[features]`: the part of a prior that runs once per state."""

DecodeFn = Callable[[Params, Array, Array], Array]
"""`(params, latent [latent_size], features) -> action [action_size]`."""

InvertFn = Callable[[Params, Array, Array], Array]
"""`(params, action [action_size], features) -> latent [latent_size]`."""

LogProbFn = Callable[[Params, Array, Array], Array]
"""`(params, action [action_size], features) -> log-density []` of an action, in nats."""

DistributionFn = Callable[[Params, Array], Any]
"""`(params, features) -> distribution` over whatever the prior is a prior of."""

PriorLossFn = Callable[[Params, Mapping[str, Any], PRNGKey, Array | None], tuple[Array, Metrics]]
"""`(params, batch, key, step) -> (loss [], metrics)`; `batch` has `observation` and `action`,
batched; `step` `[]` int32 counts the gradient steps before this one. None is for judging: weights
that grow with steps are what they grow to, statistics of batches are those that were learned."""

StatisticsFn = Callable[[Params, Mapping[str, Any], PRNGKey], Any]
"""`(params, batch, key) -> params[STATISTICS]`, moved by a batch as its loss sees it."""

STATISTICS = "batch_stats"
"""What parameters call running statistics, which no gradient moves."""


class Prior(NamedTuple):
    """A behaviour prior: old behaviour as a bundle of pure functions, parameters first.

    Functions accept any leading batch axes. A capability that a prior lacks is None; whoever needs
    it asks with `require` and the user reads one clear line. `observation` has the names of the
    arrays that it sees; none for all. `statistics` is of priors with running statistics, such as
    those of batch normalisation.
    """

    name: str
    latent_size: int
    action_size: int
    init: InitFn
    encode: EncodeFn
    decode: DecodeFn
    loss: PriorLossFn
    invert: InvertFn | None = None
    log_prob: LogProbFn | None = None
    distribution: DistributionFn | None = None
    observation: tuple[str, ...] = ()
    statistics: StatisticsFn | None = None

    def require(self, capability: str, wanted_by: str) -> Any:
        """Returns the named function.

        Raises:
          UserError: the prior has no such capability.
        """
        function = getattr(self, capability)
        if function is None:
            raise UserError(f"{wanted_by} needs a prior with a {capability}; {self.name} has none")
        return function


InferFn = Callable[[Params, Observation, Array], Any]
"""`(params, observations [horizon, ...], actions [horizon, size]) -> distribution` over skills."""

BeginSkillFn = Callable[[Params, Array, Observation], Any]
"""`(params, skill [latent_size], observation) -> plan`, all that executing the skill needs."""

ContinueSkillFn = Callable[[Params, Any, Observation], tuple[Array, Any]]
"""`(params, plan, observation) -> (action [action_size], plan)`, one step of a skill."""


class SkillModel(NamedTuple):
    """Skills: latents that stand for sequences of actions, as pure functions, parameters first.

    Functions accept any leading batch axes.

    Attributes:
      name: of the model.
      horizon: steps of a skill.
      latent_size: dimensions of a skill.
      action_size: dimensions of an action.
      init: initial parameters.
      infer: which skill a sequence of actions was.
      begin: the plan that executes a skill.
      advance: one step of it.
      loss: of a batch of windows, `observation` `[batch, horizon, ...]` and `action`
        `[batch, horizon, action_size]`; of whole episodes also `counts` `[batch, horizon]`, which
        steps there are.
      prior: over skills, given the observation that they begin in: its actions are skills; None for
        N(0, I).
      prior_params: the prior's parameters, from the model's.
      prior_within: `(bound) -> prior` with the same parameters, over skills that are this times a
        tanh; None for a model that has no such thing.
      observation: names of the arrays that it sees; none for all.
      statistics: of models with running statistics, such as those of batch normalisation.
      is_whole: a skill is an episode from its beginning to its end.
    """

    name: str
    horizon: int
    latent_size: int
    action_size: int
    init: InitFn
    infer: InferFn
    begin: BeginSkillFn
    advance: ContinueSkillFn
    loss: PriorLossFn
    prior: Prior | None = None
    prior_params: Callable[[Params], Params] = lambda params: params
    prior_within: Callable[[float | None], Prior] | None = None
    observation: tuple[str, ...] = ()
    statistics: StatisticsFn | None = None
    is_whole: bool = False


class Context(NamedTuple):
    """What has been seen of a task: transitions `[..., transitions]`, in order.

    `counts` says which of them there are, so that contexts of any length have one shape. `reward`
    is the one that the task may be told by, see `Tasks`.
    """

    observation: Observation
    action: Array
    reward: Array
    next_observation: Observation
    counts: Array


class TaskBelief(NamedTuple):
    """A Gaussian over descriptions of a task: mean and variance, `[..., latent]` each.

    A variance of zero is an encoder's that knows no doubt.
    """

    mean: Array
    variance: Array


class ContextEncoder(NamedTuple):
    """What a context says about the task, as pure functions, parameters first.

    Functions accept any leading batch axes.

    Attributes:
      name: of the encoder.
      latent_size: dimensions of what describes a task.
      init: initial parameters.
      infer: `(params, context) -> belief`; the prior where nothing counts, which is `N(0, I)`, or 0
        for an encoder that knows no doubt.
      divergence: `(belief) -> [...]`, from `N(0, I)`, in nats; 0 where an encoder knows no doubt.
    """

    name: str
    latent_size: int
    init: InitFn
    infer: Callable[[Params, Context], TaskBelief]
    divergence: Callable[[TaskBelief], Array]
