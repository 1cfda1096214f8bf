"""The tasks that a run keeps: refused where nothing could be learned from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.methods.tasks import TasksConfig, draw_tasks, keep_tasks, read_tasks

FEW = TasksConfig(train=3, test=2)


def test_tasks_are_kept(tmp_path: Path) -> None:
    drawn = draw_tasks(make_env("point/dense"), FEW)
    keep_tasks(tmp_path, drawn)
    other = draw_tasks(make_env("point/dense"), dataclasses.replace(FEW, seed=1))
    kept = keep_tasks(tmp_path, other)
    np.testing.assert_array_equal(kept.train, drawn.train)
    np.testing.assert_array_equal(read_tasks(tmp_path, other).test, drawn.test)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "nan"), (-np.inf, "-inf"), (3e38, r"3e\+38"), (-1.1e9, r"-1\.1e")]
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_tasks_that_are_no_tasks(tmp_path: Path, part: str, value: float, said: str) -> None:
    drawn = draw_tasks(make_env("point/dense"), FEW)
    arrays = {"train": np.array(drawn.train), "test": np.array(drawn.test)}
    arrays[part][1, 0] = value
    np.savez(tmp_path / "tasks.npz", **arrays)
    for use in (read_tasks, keep_tasks):
        with pytest.raises(UserError, match=rf"tasks\.npz has {said}.* in {part}; numbers of"):
            use(tmp_path, drawn)


def test_an_environment_that_draws_no_tasks() -> None:
    env = make_env("point/dense")
    assert env.tasks is not None
    nowhere = env._replace(
        tasks=env.tasks._replace(sample=lambda key, count: jnp.full((count, 2), jnp.nan))
    )
    with pytest.raises(UserError, match=r"the tasks that point/dense draws have nan in them; num"):
        draw_tasks(nowhere, FEW)
