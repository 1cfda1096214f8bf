"""Environments with an image of each state, to be filmed."""

from __future__ import annotations

from behavior_priors.types import Array, Env, PRNGKey, State, Task

FRAME = "<frame>"


def film(env: Env, width: int, height: int) -> Env:
    """The same environment with an image of each state among what is observed, as `FRAME`.

    Its specs do not tell of the image, `[height, width, 3]` uint8, so that no network sees it.

    Args:
      env: can be drawn; only whole episodes of it are filmed, and nothing steps into the next one.
      width: pixels.
      height: pixels.
    """
    render, tasks = env.render, env.tasks
    assert render is not None

    def show(state: State) -> State:
        image = render(state, width, height)
        return state._replace(observation={**state.observation, FRAME: image})

    def begin(task: Task, key: PRNGKey) -> State:
        assert tasks is not None
        return show(tasks.begin(task, key))

    def step(state: State, action: Array) -> State:
        seen = {name: x for name, x in state.observation.items() if name != FRAME}
        return show(env.step(state._replace(observation=seen), action))

    return env._replace(
        reset=lambda key: show(env.reset(key)),
        step=step,
        step_then_reset=None,
        tasks=None if tasks is None else tasks._replace(begin=begin),
    )
