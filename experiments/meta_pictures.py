"""The figures of meta-learning runs."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from behavior_priors.training import adaptation_figures
from behavior_priors.training.adapt import Adaptation
from behavior_priors.types import Env, Task
from experiments import pictures

PLANES = 4
"""Test tasks in the figure of paths."""


def draw_all(
    workdir: Path,
    method: str,
    env: Env,
    tasks: Task,
    tested: Adaptation,
    oracle: np.ndarray | None,
    exploration: int,
) -> None:
    """Draws what a run has learned into its `figures/`.

    Args:
      workdir: of the run.
      method: its folder in it.
      env: whose tasks.
      tasks: `[tasks, ...]`, of the test.
      tested: in them.
      oracle: returns `[tasks]` of whoever knows the task; None where nobody does.
      exploration: how many trajectories explored.
    """
    folder = workdir / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    pictures.learning_curves([workdir], folder, (method,), env, "return_mean")
    label = pictures.LABELS.get(method, method)
    adaptation_figures.adaptation_curves(
        folder / "adaptation.png",
        {label: np.asarray(tested.returns).mean(axis=1)},
        exploration=exploration,
        oracle=None if oracle is None else float(oracle.mean()),
        title=f"Adapting to new tasks of {env.name}",
    )
    goal_paths(folder, env, tasks, tested, exploration)


def goal_paths(folder: Path, env: Env, tasks: Task, tested: Adaptation, exploration: int) -> None:
    """PEARL's figure 4, `paths.png`: the trajectories of a few tasks that are goals in a plane."""
    radius = env.info.get("goal_radius")
    if radius is None:
        return
    count, repeats, trajectories = tested.returns.shape
    position = np.asarray(tested.episodes.observation["position"])
    # the first time that each task was met, [tasks, trajectories, steps, 2]
    first = position.reshape(trajectories, count, repeats, *position.shape[2:])[:, :, 0]
    shown = np.linspace(0, count - 1, min(PLANES, count)).astype(int)
    goals = np.asarray(jax.tree.leaves(tasks)[0])
    adaptation_figures.goal_paths(
        folder / "paths.png",
        [first[:, i] for i in shown],
        goals[shown],
        exploration=exploration,
        radius=radius,
        title=f"{trajectories} trajectories in new tasks, the later the darker; exploration grey",
    )
