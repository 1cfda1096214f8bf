"""Environments with an image of each state, to be filmed."""

from __future__ import annotations

from behavior_priors.types import Env, PRNGKey, State, Task

FRAME = "<frame>"


def film(env: Env, width: int, height: int) -> Env:
    """The same environment with an image of each state among what is observed, as `FRAME`.

    Its specs do not tell of the image, `[height, width, 3]` uint8, so that no network sees it.

    Args:
      env: can be drawn, and has no step of its own into the next episode.
      width: pixels.
      height: pixels.
    """
    render, tasks = env.render, env.tasks
    assert render is not None
    assert env.step_then_reset is None

    def show(state: State) -> State:
        image = render(state, width, height)
        return state._replace(observation={**state.observation, FRAME: image})

    def begin(task: Task, key: PRNGKey) -> State:
        assert tasks is not None
        return show(tasks.begin(task, key))

    return env._replace(
        reset=lambda key: show(env.reset(key)),
        step=lambda state, action: show(env.step(state, action)),
        tasks=None if tasks is None else tasks._replace(begin=begin),
    )
