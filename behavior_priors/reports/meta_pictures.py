"""The figures and videos of methods that infer tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from behavior_priors.envs.wrappers.film import FRAME, film
from behavior_priors.evaluation.adapt import Adaptation, AdaptConfig, make_adapt
from behavior_priors.learner import MetaLearner
from behavior_priors.methods.method import LABELS
from behavior_priors.reports import adaptation_figures, filming
from behavior_priors.reports.titles import short_name
from behavior_priors.reports.video import tile_videos, write_video
from behavior_priors.types import Env, Params, PRNGKey, Task

PLANES = 4
"""Test tasks in the figure of paths, and in a run's own video."""


def adaptation(
    folder: Path,
    tested: Mapping[str, Adaptation],
    env: Env,
    tasks: Task,
    oracle: float | None,
    exploration: int,
) -> None:
    """How methods went about new tasks: `adaptation.png`, and `METHOD_paths.png` of goals.

    Args:
      folder: of the figures.
      tested: by method.
      env: whose tasks.
      tasks: `[tasks, ...]`, of the test.
      oracle: mean return of whoever knows the task; None where nobody does.
      exploration: how many trajectories explored.
    """
    adaptation_figures.adaptation_curves(
        folder / "adaptation.png",
        {LABELS.get(m, m): np.asarray(x.returns).mean(axis=1) for m, x in tested.items()},
        exploration=exploration,
        oracle=oracle,
        title=f"Adapting to new tasks of {short_name(env.name)}",
    )
    for method, its in tested.items():
        goal_paths(folder / f"{method}_paths.png", env, tasks, its, exploration)


def goal_paths(path: Path, env: Env, tasks: Task, tested: Adaptation, exploration: int) -> None:
    """PEARL's figure 4: the trajectories of a few tasks that are goals in a plane."""
    radius = env.info.get("goal_radius")
    if radius is None:
        return
    count, repeats, trajectories = tested.returns.shape
    position = np.asarray(tested.episodes.observation["position"])
    # the first time that each task was met, [tasks, trajectories, steps, 2]
    first = position.reshape(trajectories, count, repeats, *position.shape[2:])[:, :, 0]
    shown = _shown(count, PLANES)
    goals = np.asarray(jax.tree.leaves(tasks)[0])
    adaptation_figures.goal_paths(
        path,
        [first[:, i] for i in shown],
        goals[shown],
        exploration=exploration,
        radius=radius,
        title=f"New tasks of {short_name(env.name)}, {trajectories} trajectories in each",
    )


def adaptation_video(
    folder: Path,
    method: str,
    env: Env,
    learner: MetaLearner,
    policy: Params,
    tasks: Task,
    config: AdaptConfig,
    key: PRNGKey,
    count: int = PLANES,
) -> Path | None:
    """A few test tasks side by side, the first trajectory, the first that knows, and the last one.

    Args:
      folder: of the video.
      method: what it is called after.
      env: whose tasks.
      learner: of them.
      policy: its.
      tasks: `[tasks, ...]`, of the test.
      config: how they are met.
      key: consumed.
      count: of tasks.

    Returns:
      The video; None where the environment cannot be drawn.
    """
    if env.render is None:
        return None
    shown = _shown(len(jax.tree.leaves(tasks)[0]), count)
    met = jax.tree.map(lambda x: x[shown], tasks)
    filmed = film(env, *filming.VIDEO_SIZE)
    adapt = jax.jit(make_adapt(filmed, learner, dataclasses.replace(config, repeats=1)))
    # [trajectories, tasks, steps + 1, height, width, 3]
    frames = np.asarray(adapt(policy, met, key).episodes.observation[FRAME])
    last, fps = config.trajectories - 1, _frames_per_second(env)
    parts = []
    for number in sorted({0, config.exploration, last}):
        what = f"{LABELS.get(method, method)}, {short_name(env.name)}"
        tiles = [
            tile_videos([episode], border=0, caption=_task_name(index, met, i))
            for i, (index, episode) in enumerate(zip(shown, frames[number], strict=True))
        ]
        caption = f"{what}: trajectory {number + 1} of {last + 1} in new tasks"
        part = tile_videos(tiles, columns=min(len(shown), PLANES), caption=caption)
        parts += [part, np.repeat(part[-1:], round(fps), axis=0)]
    return write_video(folder / f"{method}.mp4", np.concatenate(parts), fps)


def _frames_per_second(env: Env) -> float:
    """As fast as it happens, where that is known and can be followed."""
    if "render_fps" in env.info:
        return filming.frames_per_second(env)
    return min(float(env.info.get("control_hz", filming.FRAMES_PER_SECOND)), 30.0)


def _shown(tasks: int, most: int) -> np.ndarray:
    """Numbers of a few of the tasks."""
    return np.linspace(0, tasks - 1, min(most, tasks)).astype(int)


def _task_name(index: int, tasks: Task, row: int) -> str:
    """What a task is, where that is one number, such as a speed."""
    leaves = [np.asarray(x[row]) for x in jax.tree.leaves(tasks)]
    is_number = len(leaves) == 1 and leaves[0].ndim == 0 and leaves[0].dtype.kind == "f"
    return f"task {index + 1}" + (f": {leaves[0]:.2f}" if is_number else "")
