"""Figures and videos of a run's methods, whether they learn one task or infer which it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from behavior_priors.learner import MetaLearner
from behavior_priors.methods.learning import Trained
from behavior_priors.methods.tasks import SplitTasks
from behavior_priors.reports import meta_pictures, pictures
from behavior_priors.types import Env, PRNGKey


def draw(
    workdir: Path,
    config: Any,
    env: Env,
    tasks: SplitTasks | None,
    trained: Mapping[str, Trained],
    oracle: float | None,
) -> None:
    """Draws what a run has learned into its `figures/`.

    Args:
      workdir: of the run.
      config: of the experiment.
      env: the new task, or those that methods infer.
      tasks: these; None where no method infers any.
      trained: by method.
      oracle: mean return of whoever knows the task; None where nobody does.
    """
    folder = workdir / "figures"
    if tasks is None:
        pictures.learning_curves([workdir], folder, tuple(trained), env)
        return
    # of methods that infer the task only returns are known
    pictures.learning_curves([workdir], folder, tuple(trained), env, "return_mean")
    tested = {m: x.adaptation for m, x in trained.items() if x.adaptation is not None}
    exploration = config.adapt.exploration
    meta_pictures.adaptation(folder, tested, env, tasks.test, oracle, exploration)


def film(
    folder: Path,
    config: Any,
    tasks: SplitTasks | None,
    trained: Mapping[str, Trained],
    key: PRNGKey,
    episodes: int,
) -> None:
    """One video a method, of so many episodes, or of so many of the test tasks that it infers.

    Args:
      folder: of the videos.
      config: of the experiment.
      tasks: those that methods infer; None where none does.
      trained: by method.
      key: of the episodes; all methods are met with the same.
      episodes: in a video.
    """
    for method, learned in trained.items():
        env, learner, policy = learned.env, learned.learner, learned.policy
        if isinstance(learner, MetaLearner):
            assert tasks is not None
            meta_pictures.adaptation_video(
                folder, method, env, learner, policy, tasks.test, config.adapt, key, episodes
            )
        else:
            pictures.videos(folder, {method: (env, learner, policy)}, key, episodes)
