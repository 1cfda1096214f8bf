"""Training held to a prior of one weight, whose course is worked out by hand, and to a real one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.training.fit import VALIDATION_CHUNK, FitConfig, FitState, fit, make_fit
from behavior_priors.types import STATISTICS, ActionSpec, ArraySpec, Prior

PROBE = FitConfig(steps=40, steps_per_epoch=10, batch_size=4, learning_rate=0.05, keep="best")


def _probe(loss: Callable[[jax.Array, jax.Array, jax.Array], jax.Array], start: float) -> Prior:
    """A prior of one weight; `loss(weight, actions, key)` is what it is trained by."""

    def absent(*_: Any) -> jax.Array:
        raise AssertionError("training uses a prior's init and loss only")

    def probe_loss(
        params: Any, batch: Any, key: jax.Array, _: Any
    ) -> tuple[jax.Array, dict[str, Any]]:
        value = loss(params["weight"], batch["action"], key)
        return value, {"twice": 2.0 * value}

    return Prior(
        name="probe",
        latent_size=1,
        action_size=1,
        init=lambda key: {"weight": jnp.float32(start)},
        encode=absent,
        decode=absent,
        loss=probe_loss,
    )


def _squares(weight: jax.Array, action: jax.Array, key: jax.Array) -> jax.Array:
    return jnp.square(action - weight).mean()


def _data(*actions: float) -> dict[str, Any]:
    return {"observation": {}, "action": jnp.array(actions, jnp.float32)[:, None]}


def _train(prior: Prior, config: FitConfig, train: Any, validation: Any) -> Any:
    """The final state, and the metrics of every epoch."""
    history = []
    state = fit(
        prior,
        config,
        train,
        validation,
        jax.random.key(0),
        on_epoch=lambda _, metrics: history.append(metrics),
    )
    return state, history


@pytest.mark.parametrize(
    ("changes", "start", "slope", "expected"),
    [
        # Adam divides a constant gradient by itself: four steps of 0.1 downhill.
        ({}, 0.0, 1.0, -0.4),
        # (1 + cos(pi t / 4)) / 2 for t = 0, 1, 2, 3 adds up to 2.5 steps.
        ({"learning_rate_schedule": "cosine"}, 0.0, 1.0, -0.25),
        # Without a gradient only the decay acts: (1 - 0.1 * 0.5)^4.
        ({"weight_decay": 0.5}, 1.0, 0.0, 0.81450625),
        # Clipped to Adam's epsilon, a gradient g makes steps g / (g + epsilon) of half the size.
        ({"gradient_clip": 1e-8}, 0.0, 1.0, -0.2),
    ],
)
def test_optimiser_by_hand(
    changes: dict[str, Any], start: float, slope: float, expected: float
) -> None:
    config = FitConfig(steps=4, steps_per_epoch=2, batch_size=2, learning_rate=0.1)
    prior = _probe(lambda weight, action, key: slope * weight, start)
    state, _ = _train(prior, replace(config, **changes), _data(0.0), _data(0.0))
    assert state.params["weight"] == pytest.approx(expected, rel=1e-5)
    assert state.step == 4


def test_best_of_validation_is_kept_while_training_goes_on() -> None:
    """The weight travels from 0 to the training data at 1 and passes the validation data at 0.3."""
    prior = _probe(_squares, 0.0)
    validation = _data(0.3)
    state, history = _train(prior, PROBE, _data(1.0), validation)
    losses = [metrics["validation/loss"] for metrics in history]
    best = int(np.argmin(losses))
    assert len(losses) == 4
    assert best < 3
    assert losses[-1] > 2 * losses[best]
    assert state.best_step == 10 * (best + 1)
    assert state.best_loss == pytest.approx(losses[best])
    unused = jax.random.key(0)
    assert _squares(state.best_params["weight"], validation["action"], unused) == state.best_loss
    assert state.params["weight"] > 0.7


def test_the_last_may_be_kept_instead() -> None:
    config = replace(PROBE, keep="last")
    state, history = _train(_probe(_squares, 0.0), config, _data(1.0), _data(0.3))
    assert state.best_step == PROBE.steps
    assert state.best_params["weight"] == state.params["weight"]
    assert state.best_loss == pytest.approx(history[-1]["validation/loss"])


@pytest.mark.parametrize(("steps", "late"), [(40, (20, 30, 40)), (50, (30, 40, 50)), (10, (10,))])
@pytest.mark.parametrize("target", [0.3, 1.0])
def test_late_looks_at_the_second_half_only(
    steps: int, late: tuple[int, ...], target: float
) -> None:
    """Of a loss that is lowest after the first epoch, and of one that falls."""
    config = replace(PROBE, steps=steps, keep="late")
    state, history = _train(_probe(_squares, 0.0), config, _data(1.0), _data(target))
    losses = {10 * (i + 1): metrics["validation/loss"] for i, metrics in enumerate(history)}
    assert (min(losses, key=losses.__getitem__) in late) == (target == 1.0 or steps == 10)
    assert state.best_step == min(late, key=losses.__getitem__)
    assert state.best_loss == pytest.approx(losses[int(state.best_step)])


def test_metrics_are_the_losses_own() -> None:
    _, history = _train(_probe(_squares, 0.5), PROBE, _data(1.0), _data(0.0))
    for metrics in history:
        assert metrics["train/twice"] == pytest.approx(2 * metrics["train/loss"])
        assert metrics["validation/twice"] == pytest.approx(2 * metrics["validation/loss"])
    # The first validation sees the weight after ten steps, training the mean over them.
    assert history[0]["train/loss"] < 0.25
    assert history[0]["validation/loss"] > 0.25


@pytest.mark.parametrize("size", [1, 37, VALIDATION_CHUNK, 2 * VALIDATION_CHUNK + 37])
def test_validation_covers_all_data(size: int) -> None:
    actions = jnp.arange(size, dtype=jnp.float32)
    prior = _probe(lambda weight, action, key: action.mean() + 0.0 * weight, 0.0)
    config = replace(PROBE, steps=1, steps_per_epoch=1)
    _, (metrics,) = _train(
        prior, config, _data(0.0), {"observation": {}, "action": actions[:, None]}
    )
    assert metrics["validation/loss"] == pytest.approx((size - 1) / 2, rel=1e-6)


def test_validation_noise_is_the_same_every_epoch_and_training_noise_is_not() -> None:
    prior = _probe(lambda weight, action, key: jax.random.normal(key) + 0.0 * weight, 0.0)
    _, history = _train(prior, PROBE, _data(0.0), _data(0.0))
    assert len({metrics["validation/loss"] for metrics in history}) == 1
    assert len({metrics["train/loss"] for metrics in history}) == 4


def test_batches_cover_the_training_data() -> None:
    prior = _probe(lambda weight, action, key: action.mean() + 0.0 * weight, 0.0)
    config = replace(PROBE, batch_size=1000)
    _, history = _train(prior, config, _data(*range(8)), _data(0.0))
    # 10,000 draws from 0..7, of mean 3.5 and standard deviation 2.3.
    for metrics in history:
        assert metrics["train/loss"] == pytest.approx(3.5, abs=0.15)
    assert len({metrics["train/loss"] for metrics in history}) == 4


def test_resumed_training_is_bit_exact() -> None:
    prior = _probe(
        lambda w, action, key: _squares(w, action, key) + w * jax.random.normal(key), 0.0
    )
    train, validation = _data(*range(50)), _data(0.4)
    config = replace(PROBE, learning_rate_schedule="cosine", gradient_clip=1.0, weight_decay=0.1)
    saved: list[Any] = []

    def save(state: FitState, metrics: dict[str, float]) -> None:
        saved.append(jax.device_get(replace(state, key=jax.random.key_data(state.key))))

    whole = fit(prior, config, train, validation, jax.random.key(1), on_epoch=save)
    restored = jax.tree.map(jnp.asarray, saved[1])
    restored = replace(restored, key=jax.random.wrap_key_data(restored.key))
    assert restored.step == 20
    resumed = fit(
        prior, config, train, validation, jax.random.key(2), initial_state=restored, on_epoch=save
    )
    assert resumed.step == whole.step == 40
    assert whole.params["weight"] != saved[1].params["weight"]
    for one, other in zip(jax.tree.leaves(saved[-1]), jax.tree.leaves(saved[3]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_finished_training_is_not_run_again() -> None:
    prior = _probe(_squares, 0.0)
    state, _ = _train(prior, PROBE, _data(1.0), _data(0.3))
    calls: list[Any] = []
    again = fit(
        prior,
        PROBE,
        _data(1.0),
        _data(0.3),
        jax.random.key(0),
        initial_state=state,
        on_epoch=lambda *arguments: calls.append(arguments),
    )
    assert again is state
    assert not calls


def _breaks_down(weight: jax.Array, action: jax.Array, key: jax.Array) -> jax.Array:
    """Falls steadily, to minus infinity once the weight has passed one."""
    return -weight / jnp.where(weight > 1.02, 0.0, 1.0)


def test_non_finite_training_stops_with_the_step_and_the_metric() -> None:
    seen: list[FitState] = []
    with pytest.raises(
        UserError, match=r"probe prior: train/loss became .* between steps 20 and 30"
    ):
        fit(
            _probe(_breaks_down, 0.0),
            PROBE,
            _data(0.0),
            _data(0.0),
            jax.random.key(0),
            on_epoch=lambda state, _: seen.append(state),
        )
    assert [int(state.step) for state in seen] == [10, 20]
    assert seen[-1].best_params["weight"] == pytest.approx(1.0, abs=1e-3)


def test_non_finite_parameters_never_become_the_best() -> None:
    init, run_epoch = make_fit(_probe(_breaks_down, 0.0), PROBE)
    state = init(jax.random.key(0))
    for _ in range(4):
        state, metrics = run_epoch(state, _data(0.0), _data(0.0))
    assert not jnp.isfinite(metrics["validation/loss"])
    assert not jnp.isfinite(state.params["weight"])
    assert jnp.isfinite(state.best_loss)
    assert jnp.isfinite(state.best_params["weight"])
    assert state.best_step == 20


def test_an_epoch_is_one_program_without_callbacks() -> None:
    traces: list[None] = []

    def loss(weight: jax.Array, action: jax.Array, key: jax.Array) -> jax.Array:
        traces.append(None)
        return _squares(weight, action, key)

    init, run_epoch = make_fit(_probe(loss, 0.0), PROBE)
    state = init(jax.random.key(0))
    state, _ = run_epoch(state, _data(1.0), _data(0.0))
    traces_of_one_epoch = len(traces)
    for _ in range(3):
        state, _ = run_epoch(state, _data(1.0), _data(0.0))
    assert len(traces) == traces_of_one_epoch
    assert "callback" not in str(jax.make_jaxpr(run_epoch)(state, _data(1.0), _data(0.0)))


def test_the_loss_sees_how_many_steps_came_before_and_none_where_it_judges() -> None:
    probe = _probe(_squares, 0.0)

    def loss(
        params: Any, batch: Any, key: jax.Array, step: Any
    ) -> tuple[jax.Array, dict[str, Any]]:
        value, _ = probe.loss(params, batch, key, step)
        return value, {"seen": jnp.float32(-1.0 if step is None else step)}

    _, history = _train(probe._replace(loss=loss), PROBE, _data(1.0), _data(0.0))
    # the means of 0 to 9, 10 to 19 and so on
    assert [metrics["train/seen"] for metrics in history] == [4.5, 14.5, 24.5, 34.5]
    assert {metrics["validation/seen"] for metrics in history} == {-1.0}


def test_statistics_are_moved_by_batches_and_by_nothing_else() -> None:
    """A running mean of actions, which are all 2: half of the way in each of four steps."""
    probe = _probe(_squares, 3.0)

    def statistics(params: Any, batch: Any, key: jax.Array) -> Any:
        return {"mean": 0.5 * params[STATISTICS]["mean"] + 0.5 * batch["action"].mean()}

    def init(key: jax.Array) -> Any:
        return {**probe.init(key), STATISTICS: {"mean": jnp.float32(10.0)}}

    # what decays weights would pull the mean to zero
    config = FitConfig(steps=4, steps_per_epoch=2, batch_size=2, weight_decay=10.0, keep="last")
    running = probe._replace(init=init, statistics=statistics)
    state, _ = _train(running, config, _data(2.0), _data(0.0))
    assert float(state.params[STATISTICS]["mean"]) == 2.5
    assert float(state.best_params[STATISTICS]["mean"]) == 2.5
    alone, _ = _train(probe, config, _data(2.0), _data(0.0))
    assert float(state.params["weight"]) == float(alone.params["weight"])


def _bimodal(seed: int, size: int) -> dict[str, Any]:
    """Actions at `+m(s)` or `-m(s)`, evenly, with a standard deviation of 0.1 around each."""
    rng = np.random.default_rng(seed)
    state = rng.uniform(-1.0, 1.0, (size, 2))
    mean = np.stack([0.6 + 0.3 * state[:, 0], -0.6 + 0.3 * state[:, 1]], axis=-1)
    action = rng.choice([-1.0, 1.0], (size, 1)) * mean + 0.1 * rng.normal(size=(size, 2))
    return {
        "observation": {"state": jnp.asarray(state, jnp.float32)},
        "action": jnp.asarray(action, jnp.float32),
    }


def test_a_flow_recovers_a_bimodal_density_far_better_than_a_gaussian() -> None:
    prior = make_real_nvp(
        RealNVPConfig(encoder_widths=(32,), conditioner_widths=(32, 32)),
        {"state": ArraySpec((2,))},
        ActionSpec(2),
    )
    config = FitConfig(
        steps=600,
        steps_per_epoch=200,
        batch_size=128,
        learning_rate=3e-3,
        learning_rate_schedule="cosine",
    )
    data = _bimodal(0, 8000), _bimodal(1, 2000)
    state, history = _train(prior, config, *data)
    # The density's own entropy: 2 (1.4189385 + log 0.1) + log 2.
    entropy = -1.0741461
    # A Gaussian with the right covariance m m^T + 0.01 I, whose determinant is about
    # 0.01 (0.01 + 0.78) on average over s: 2.8378771 + log(0.0079) / 2.
    gaussian = 0.41
    nll = history[-1]["validation/nll"]
    assert entropy - 0.1 < nll < entropy + 0.3
    assert nll < gaussian - 1.0
    assert state.best_loss <= history[0]["validation/nll"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 45}, "steps=45 should be a multiple of steps_per_epoch=10"),
        ({"steps": 0}, "steps=0 should be at least 1"),
        ({"batch_size": 0}, "batch_size=0 should be at least 1"),
    ],
)
def test_bad_configs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_fit(_probe(_squares, 0.0), replace(PROBE, **changes))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_data(), "there is no validation data"),
        (
            {"observation": {}, "action": jnp.zeros((3, 2))},
            r"actions in the validation data have shape \(2,\), but the probe prior wants \(1,\)",
        ),
        (
            {"observation": {"state": jnp.zeros((4, 2))}, "action": jnp.zeros((3, 1))},
            "validation data: 4 observations of state, but 3 actions",
        ),
    ],
)
def test_bad_data(data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(_probe(_squares, 0.0), PROBE, _data(1.0), data, jax.random.key(0))
