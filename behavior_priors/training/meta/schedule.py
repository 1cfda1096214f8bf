"""How much experience of which tasks a meta-learner makes, in what order, and what it is for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from behavior_priors.config.checks import check_ranges, check_rules
from behavior_priors.config.ranges import INT32, Count, CountOrZero, SideBySide
from behavior_priors.errors import UserError


@dataclass(frozen=True)
class MetaLoopConfig:
    """How experience of many tasks is made and used.

    Steps are those of one task, and multiples of an episode's length.

    Attributes:
      iterations: rounds of experience and updates.
      epoch_iterations: rounds between two returns to the host.
      initial_steps: of every training task before the first round, with the untrained policy.
      tasks_per_iteration: training tasks of which a round makes experience, no two the same.
      prior_steps: of these tasks in a round, with descriptions from N(0, I).
      posterior_steps: with descriptions from what the context says, anew after each episode.
      extra_steps: likewise, but never seen as a context.
      first_from_prior: posterior and extra steps begin with an episode whose description is from
        N(0, I), as the authors' do.
      updates_per_iteration: gradient updates in a round.
      meta_batch: training tasks in an update, drawn with replacement.
      batch_size: transitions of each of them for actor and critics.
      context_size: transitions of each of them for the encoder.
      context: where these are from: recent for the last round that made experience of the task, all
        for everything that is remembered of it, batch for those of actor and critics themselves.
      context_order: transitions in any order, or as they followed each other.
      batch_order: likewise, of actor and critics.
      replay_capacity: transitions remembered of each task; None for what a run makes of it.
    """

    iterations: Count = 100
    epoch_iterations: Count = 5
    initial_steps: Count = 200
    tasks_per_iteration: SideBySide = 5
    prior_steps: CountOrZero = 200
    posterior_steps: CountOrZero = 0
    extra_steps: CountOrZero = 200
    first_from_prior: bool = True
    updates_per_iteration: Count = 200
    meta_batch: SideBySide = 16
    batch_size: SideBySide = 256
    context_size: SideBySide = 64
    context: Literal["recent", "all", "batch"] = "recent"
    context_order: Literal["random", "in_order"] = "random"
    batch_order: Literal["random", "in_order"] = "random"
    replay_capacity: Count | None = None


class MetaSchedule(NamedTuple):
    """Environment steps of a run, those before the first round included."""

    steps: int
    epoch_steps: int
    warmup_steps: int


class Stretch(NamedTuple):
    """What a stretch of experience, as long as an episode, is for.

    Attributes:
      from_prior: descriptions are from `N(0, I)`.
      as_context: it may be seen as a context.
    """

    from_prior: bool
    as_context: bool


Wave = tuple[Stretch, ...]
"""Stretches of which none waits for what another one shows."""


def stretches_of(config: MetaLoopConfig, length: int) -> list[Stretch]:
    """A round's experience, in order."""
    prior, posterior, extra = (
        steps // length
        for steps in (config.prior_steps, config.posterior_steps, config.extra_steps)
    )

    def renewed(number: int, as_context: bool) -> list[Stretch]:
        return [Stretch(config.first_from_prior and i == 0, as_context) for i in range(number)]

    return [Stretch(True, True)] * prior + renewed(posterior, True) + renewed(extra, False)


def waves_of(stretches: Sequence[Stretch]) -> list[Wave]:
    """The same stretches, side by side as far as none waits for another one of them.

    Whoever acts on a belief waits for everything before that shows something of the task.
    """
    waves: list[Wave] = []
    for stretch in stretches:
        last = waves.pop() if waves else ()
        if not stretch.from_prior and any(x.as_context for x in last):
            waves += [last, (stretch,)]
        else:
            waves.append((*last, stretch))
    return waves


def _steps_of_a_round(config: MetaLoopConfig) -> int:
    """Of one task."""
    return config.prior_steps + config.posterior_steps + config.extra_steps


def replay_need(config: MetaLoopConfig, tasks: int) -> int:
    """Transitions of one task to have room for.

    A round chooses a task with the same chance each time; four standard deviations above the mean
    is more than any of them is chosen. Should one be, its oldest transitions are forgotten.
    """
    if config.replay_capacity is not None:
        return config.replay_capacity
    chance = config.tasks_per_iteration / tasks
    mean = config.iterations * chance
    rounds = min(config.iterations, math.ceil(mean + 4 * math.sqrt(mean * (1 - chance))))
    return config.initial_steps + rounds * _steps_of_a_round(config)


def check_schedule(config: MetaLoopConfig, length: int, tasks: int) -> MetaSchedule:
    """Environment steps of a run.

    Args:
      config: of the loop.
      length: steps of an episode.
      tasks: how many there are to train on.

    Raises:
      UserError: the config does not fit itself, or these.
    """
    check_ranges(config)
    stretches = ("initial_steps", "prior_steps", "posterior_steps", "extra_steps")
    multiple = f"a multiple of the length of an episode, {length}"
    rules = {
        "iterations": (
            config.iterations % config.epoch_iterations == 0,
            "a multiple of epoch_iterations",
        ),
        "tasks_per_iteration": (
            config.tasks_per_iteration <= tasks,
            f"at most the number of training tasks, {tasks}",
        ),
        **{name: (getattr(config, name) % length == 0, multiple) for name in stretches},
        "batch_size": (
            config.batch_order == "random" or config.batch_size <= config.initial_steps,
            "at most initial_steps, to be in order",
        ),
        "replay_capacity": (
            config.replay_capacity is None or config.replay_capacity >= config.initial_steps,
            "at least initial_steps, or none for what a run makes",
        ),
    }
    check_rules(config, rules)
    if config.prior_steps + config.posterior_steps == 0:
        raise UserError(
            "prior_steps and posterior_steps are both 0; a round must show the encoder something"
        )
    epoch = config.epoch_iterations * config.tasks_per_iteration * _steps_of_a_round(config)
    initial = tasks * config.initial_steps
    steps = initial + epoch * (config.iterations // config.epoch_iterations)
    if steps > INT32:
        raise UserError(
            f"iterations={config.iterations} should be fewer: these are {steps} environment steps, "
            f"and no more than {INT32} can be counted"
        )
    return MetaSchedule(steps, epoch, warmup_steps=0)
