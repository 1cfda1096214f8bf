"""The benchmarks of SPiRL at tiny sizes: what is raced is the same, and what is not is noticed."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from behavior_priors.learners.sac import SACConfig
from behavior_priors.priors.skill_vae import SkillVAEConfig
from behavior_priors.training.fit import FitConfig
from behavior_priors.types import Params
from benchmarks import kl_sac, maze, skill_model
from benchmarks.harness import BenchmarkError, Plan
from benchmarks.spirl_entrants import (
    AVAILABLE,
    CORES,
    Steps,
    compare,
    core_rows,
    draw_params,
    on_cores,
)

SKILLS = SkillVAEConfig(
    horizon=3,
    latent_size=2,
    beta=0.1,
    embedding_width=5,
    lstm_width=4,
    decoder_widths=(6, 7),
    prior_widths=(6,),
)
FIT = FitConfig(steps=2, steps_per_epoch=2, batch_size=8, gradient_clip=0.5)
SAC = SACConfig(policy_widths=(6, 5), critic_widths=(7, 6), min_log_std=-10.0)


def ticking() -> Callable[[], float]:
    """A clock that passes a second between any two looks."""
    return map(float, itertools.count()).__next__


def skill_data() -> dict[str, np.ndarray]:
    return skill_model.make_data(SKILLS, observation_size=4, action_size=2, steps=30)


def skill_params(seed: int = 0) -> Params:
    shapes = skill_model.make_model(SKILLS, skill_data()).init(jax.random.key(0))
    return draw_params(shapes, seed)


def make_steps(**changes: Any) -> Steps:
    steps = Steps([1.0, 2.0], {"w": np.array([1e-9, 2.0])}, {"w": np.array([0.1, 0.5])})
    return steps._replace(**changes)


def test_the_skill_models_are_equal() -> None:
    pytest.importorskip("torch")
    found = skill_model.check(SKILLS, FIT, skill_data(), skill_params())
    assert [part.split(" within")[0] for part in found.split(", ")] == [
        "losses",
        "gradients",
        "weights after a step",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1.1e-3}, "losses|weights after a step"),
        ({"gradient_clip": 0.45}, "gradients"),
    ],
)
def test_another_optimiser_is_noticed(
    change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_spirl = pytest.importorskip("benchmarks.torch_spirl", exc_type=ImportError)
    make, other = torch_spirl.SkillTrainer, dataclasses.replace(FIT, **change)
    monkeypatch.setattr(
        torch_spirl, "SkillTrainer", lambda config, _, *rest: make(config, other, *rest)
    )
    with pytest.raises(BenchmarkError, match=message):
        skill_model.check(SKILLS, FIT, skill_data(), skill_params())


def test_gates_in_another_order_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_spirl = pytest.importorskip("benchmarks.torch_spirl", exc_type=ImportError)
    make = torch_spirl.SkillTrainer

    def turned(config: Any, fit: Any, data: Any, weights: Any) -> Any:
        kernel = np.roll(weights["lstm.weight_hh_l0"], SKILLS.lstm_width, axis=0)
        return make(config, fit, data, {**weights, "lstm.weight_hh_l0": kernel})

    monkeypatch.setattr(torch_spirl, "SkillTrainer", turned)
    with pytest.raises(BenchmarkError, match="losses"):
        skill_model.check(SKILLS, FIT, skill_data(), skill_params())


def test_the_soft_actor_critics_are_equal() -> None:
    pytest.importorskip("torch")
    found = kl_sac.check(SAC, kl_sac.make_data(20, 4, 3), batch_size=8)
    assert "weights after a step within" in found


@pytest.mark.parametrize(
    "change",
    [{"discount": 0.98}, {"target_rate": 0.02}, {"temperature_learning_rate": 3.3e-4}],
)
def test_another_algorithm_is_noticed(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_spirl = pytest.importorskip("benchmarks.torch_spirl", exc_type=ImportError)
    make, other = torch_spirl.KLSACTrainer, dataclasses.replace(SAC, **change)
    monkeypatch.setattr(torch_spirl, "KLSACTrainer", lambda _, *rest: make(other, *rest))
    with pytest.raises(BenchmarkError, match=r"losses|weights after a step"):
        kl_sac.check(SAC, kl_sac.make_data(20, 4, 3), batch_size=8)


def test_trainers_draw_their_own_batches() -> None:
    torch_spirl = pytest.importorskip("benchmarks.torch_spirl", exc_type=ImportError)
    model = torch_spirl.SkillTrainer(SKILLS, FIT, skill_data(), skill_model.arrays(skill_params()))
    before = model.weights()
    torch_spirl.train(model, updates=2, threads=1)
    assert all(np.isfinite(x).all() for x in model.weights().values())
    assert any((x != before[name]).any() for name, x in model.weights().items())


def test_arrays_are_in_torchs_layout() -> None:
    params = skill_params()
    arrays = skill_model.arrays(params)
    cell = params["encoder"]["params"]["OptimizedLSTMCell_0"]
    np.testing.assert_array_equal(arrays["lstm.weight_ih_l0"][4:8], cell["if"]["kernel"].T)
    np.testing.assert_array_equal(arrays["lstm.weight_hh_l0"][12:], cell["ho"]["kernel"].T)
    np.testing.assert_array_equal(arrays["lstm.bias_hh_l0"][8:12], cell["hg"]["bias"])
    assert arrays["decoder.4.weight"].shape == (2, 7)
    assert arrays["prior.2.bias"].shape == (4,)
    counted = sum(x.size for x in jax.tree.leaves(params)) - 1  # but beta
    assert sum(x.size for x in arrays.values()) == counted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": [1.0, 2.001]}, "losses"),
        ({"gradient": {"w": np.array([1e-9, 2.001])}}, "gradients"),
        ({"weights": {"w": np.array([0.1, 0.5002])}}, "weights after a step"),
        ({"weights": {"v": np.array([0.1, 0.5])}}, "other arrays"),
    ],
)
def test_what_differs_is_no_race(change: dict[str, Any], message: str) -> None:
    assert "exactly" in compare(make_steps(), make_steps(), learning_rate=1e-3)
    with pytest.raises(BenchmarkError, match=message):
        compare(make_steps(**change), make_steps(), learning_rate=1e-3)


def test_weights_whose_gradient_is_rounding_may_step_either_way() -> None:
    turned = make_steps(weights={"w": np.array([0.102, 0.5])})
    assert "weights after a step exactly" in compare(turned, make_steps(), learning_rate=1e-3)


def test_there_is_a_row_for_each_number_of_cores_and_one_for_the_best() -> None:
    contestants = {(who, n): (lambda: None) for who in ("ours", "torch") for n in CORES}
    pytest.importorskip("torch")
    plan = Plan(rounds=2, seconds=1.0, clock=ticking())
    rows = list(core_rows("x", "steps/s", 20, contestants, plan, equal="all"))
    assert len(rows) == (1 if len(CORES) == 1 else len(CORES) + 1)
    assert rows[0].name == "x against torch (cores: 1)"


def test_a_contestant_is_kept_to_its_cores_and_the_process_not_for_longer() -> None:
    seen = []
    on_cores(1, lambda: seen.append(os.sched_getaffinity(0)))()
    assert seen == [{AVAILABLE[0]}]
    assert os.sched_getaffinity(0) == set(AVAILABLE)
    with pytest.raises(ZeroDivisionError):
        on_cores(1, lambda: 1 // 0)()
    assert os.sched_getaffinity(0) == set(AVAILABLE)


def test_maze_rows_at_small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, patched = (maze.make_env(f"maze/test?patch={patch}") for patch in ("false", "true"))
    plan = Plan(rounds=2, seconds=1.0, clock=ticking())
    patch, free = maze.measure_steps(plain, patched, 8, 10, plan)
    assert patch.equal == "paths exactly"
    assert free.equal.startswith("free paths within")
    monkeypatch.setattr(maze.point, "FORCE", 90.0)
    with pytest.raises(BenchmarkError, match="free paths"):
        list(maze.measure_steps(plain, patched, 8, 10, plan))


def test_demonstrations_are_those_of_the_rollout() -> None:
    env = maze.make_env("maze/train?episode_length=20")
    row = maze.measure_data(env, 4, Plan(rounds=2, seconds=1.0, clock=ticking()))
    assert (row.equal, row.unit, row.rounds) == ("a round's actions exactly", "episodes/s", 2)


def test_floating_point_operations_of_an_update_by_hand() -> None:
    # of a piece of 10 steps, multiplications and additions apart:
    encoder = 10 * 9 * 512 + 9 * 128 * 512 + 128 * 20  # actions, outputs, mean and deviation
    decoder = 10 * (70 * 128 + 4 * 128 * 128 + 128 * 9)  # 60 observations, 10 of the skill
    prior = 60 * 128 + 5 * 128 * 128 + 128 * 20
    # a batch of 128, forward once and backward twice
    expected = 2 * 3 * 128 * (encoder + decoder + prior)
    assert skill_model.flops_per_update(skill_model.CONFIG, 128) == expected == 1_142_095_872
