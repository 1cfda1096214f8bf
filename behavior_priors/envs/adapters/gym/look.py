"""Looking at one of gymnasium's environments before it is used: what it observes, and says."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from behavior_priors.envs.adapters.gym.actions import BoxAction
from behavior_priors.envs.adapters.gym.answers import find_success, read_reset, read_step
from behavior_priors.envs.adapters.gym.spaces import Layout
from behavior_priors.envs.adapters.gym.tasks import TaskList
from behavior_priors.system.faults import blaming

LOOK_STEPS = 1000
"""Random steps that show what is typical of an observation."""

LOOK_EPISODE = 100
"""Of these at most so many in one episode, because beginnings differ most."""

WHOLE_EPISODES = 3
"""Random ones that are run to their ends to see whether success is reported there."""

WHOLE_SECONDS = 5.0
"""Time for them; one that takes longer is left. Random steps that take longer are said to."""


class Look(NamedTuple):
    """What was found.

    Attributes:
      measures_success: `info` says whether the task's condition holds.
      reason: how that was decided.
    """

    measures_success: bool
    reason: str


def look(
    env: Any,
    action: BoxAction,
    layout: Layout,
    name: str,
    told: bool | None,
    limit: int,
    tasks: TaskList | None = None,
) -> Look:
    """Takes random steps to settle the layout's typical values, and to see what `info` says.

    The steps are the same ones every time. Whether success is reported is decided by the first
    report; if there is none, by running whole episodes, because many report it in the last step
    only.

    Args:
      env: one of gymnasium's.
      action: what it accepts.
      layout: of what it observes.
      name: of the environment.
      told: whether it reports success, if the user says so.
      limit: steps that end an episode, whatever the environment says.
      tasks: that it has, each of which begins an episode in turn; None where it has but one.

    Raises:
      UserError: it raises, or returns something that it should not.
    """
    rng = np.random.default_rng(0)
    count = 1 if layout.is_settled() else LOOK_STEPS
    numbers, words = np.zeros((count, layout.floats)), np.zeros((count, layout.size), np.int32)
    reports, steps_left = False, 0
    begun, is_slow = time.monotonic(), False
    begin = functools.partial(_reset, env, name, tasks)
    read = functools.partial(_act, env, action, name, rng, told is None)
    for step in range(count):
        if steps_left == 0:
            begin(step)
            steps_left = LOOK_EPISODE
        observation, over, reported = read()
        reports |= reported
        steps_left = 0 if over else steps_left - 1
        layout.write(numbers, words, [step], [observation])
        # not left at that: what is typical would depend on the machine
        if not is_slow and (spent := time.monotonic() - begun) > WHOLE_SECONDS:
            is_slow = True
            say(
                f"{name}: its observations have no bounds that say what is typical, and {count} "
                f"random steps that show it take about {spent * count / (step + 1):.0f} s"
            )
    layout.settle(numbers)
    if told is not None:
        return Look(told, "as the options say")
    if reports:
        return Look(True, "info reports it")
    ended, stop = 0, time.monotonic() + WHOLE_SECONDS
    while ended < WHOLE_EPISODES and time.monotonic() < stop:
        begin(LOOK_STEPS + ended)
        over, steps = False, 0
        while not over and time.monotonic() < stop:
            _, over, reported = read()
            steps += 1
            over |= steps >= limit
            if reported:
                return Look(True, "info reports it at an episode's end")
        ended += over
    if ended:
        reason = f"info reports none in {ended} whole episodes"
    else:
        reason = f"no episode ended within {WHOLE_SECONDS:g} s of looking for a report in info"
    say(f"{name}: success is not measured, {reason}; measures_success=true if it is reported")
    return Look(False, reason)


def reset_env(env: Any, seed: int, options: Mapping[str, Any] | None) -> Any:
    """What `reset` returns; one that knows no options is not given any."""
    return env.reset(seed=seed) if options is None else env.reset(seed=seed, options=dict(options))


def _reset(env: Any, name: str, tasks: TaskList | None, seed: int) -> None:
    options = None if tasks is None else tasks.options(seed % len(tasks))
    with blaming(name, "reset"):
        read_reset(reset_env(env, seed, options), name)


def _act(
    env: Any, action: BoxAction, name: str, rng: np.random.Generator, asks: bool
) -> tuple[Any, bool, bool]:
    """A random step: the observation, whether the episode is over, whether success is reported."""
    drawn = action.rescale(rng.uniform(-1.0, 1.0, (1, action.size)))
    with blaming(name, "step"):
        stepped = read_step(env.step(drawn[0, ...]), name)
    reported = asks and find_success(stepped.info, name) is not None
    return stepped.observation, stepped.terminated or stepped.truncated, reported


@functools.cache
def say(line: str) -> None:
    """Once a process, however often the environment is made."""
    logging.warning("%s", line)
