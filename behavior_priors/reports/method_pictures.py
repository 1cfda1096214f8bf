"""Figures and videos of a run's methods, whether they learn one task or infer which it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.learner import MetaLearner
from behavior_priors.methods import learning
from behavior_priors.methods.learning import Trained
from behavior_priors.methods.method import LABELS
from behavior_priors.methods.tasks import SplitTasks
from behavior_priors.reports import filming, meta_pictures, pictures
from behavior_priors.reports.titles import short_name
from behavior_priors.reports.video import tile_videos, write_video
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
    tested = {m: learning.adaptation_of(config, tasks, x) for m, x in trained.items()}
    exploration = config.adapt.exploration
    meta_pictures.adaptation(folder, tested, env, tasks.test, oracle, exploration)


def film(
    folder: Path,
    config: Any,
    env: Env,
    tasks: SplitTasks | None,
    trained: Mapping[str, Trained],
    key: PRNGKey,
    episodes: int,
) -> bool:
    """One video a method, of so many episodes, or of so many of the test tasks that it infers.

    Args:
      folder: of the videos.
      config: of the experiment.
      env: the new task, or those that methods infer.
      tasks: those that methods infer; None where none does.
      trained: by method.
      key: of the episodes; all methods are met with the same.
      episodes: in a video.

    Returns:
      Whether there are any; where not, it is said why.
    """
    drawn = filming.filmed(env, config.env, engine=config.engine, reward=config.reward)
    if drawn is None:
        return False
    for method, learned in trained.items():
        if isinstance(learned.learner, MetaLearner):
            assert tasks is not None
            if drawn is not env and learned.env is not env:
                print(f"no video of {method}: it acts through a model in {env.name}", flush=True)
                continue
            seen = learned.env if drawn is env else drawn
            meta_pictures.adaptation_video(
                folder,
                method,
                seen,
                learned.learner,
                learned.policy,
                tasks.test,
                config.adapt,
                key,
                episodes,
            )
            continue
        fps = filming.frames_per_second(drawn)
        pieces = _pieces(method, drawn, learned, key, episodes, round(fps))
        write_video(folder / f"{method}.mp4", pieces, fps)
    return True


def _pieces(
    method: str, env: Env, learned: Trained, key: PRNGKey, episodes: int, hold: int
) -> Iterator[np.ndarray]:
    """Episodes of a method side by side, piece by piece, the last frame for so many more."""
    caption = f"{LABELS.get(method, method)}, {short_name(env.name)}"
    film = filming.record(env, learned.agent, learned.policy, key, episodes, filming.VIDEO_SIZE)
    for piece in film:
        captioned = filming.with_captions(piece, measures_success=env.measures_success)
        yield (tiled := tile_videos(captioned, columns=min(episodes, 4), caption=caption))
    yield np.repeat(tiled[-1:], hold, axis=0)
