"""Models that leave their run: another run acts through them, as it would through the run's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.methods.others import restore_model, stage_of
from behavior_priors.methods.plan import prepare
from behavior_priors.methods.presets import RUN
from behavior_priors.methods.shipped import MODEL_FILE
from behavior_priors.methods.tasks import task_env
from behavior_priors.policy import WEIGHTS_FILE, safetensors_bytes
from behavior_priors.system.trust import FromFile
from tests.deploy.tiny import ACT, REAL_NVP, SKILLS, TASK
from tests.experiments.settings import config_of
from tests.inside.memory import remembered
from tests.inside.programs import one_environment, run_program, succeed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Holds a run, `run`, and the two models that it has learned, in folders of their own."""
    folder = tmp_path_factory.mktemp("models")
    methods = ("--methods=parrot,ssp", "--only_models", "--workdir=run")
    with one_environment(), remembered():
        succeed("experiments.run", (*TASK, *methods, *REAL_NVP, *SKILLS, *ACT), folder)
        for model in ("real_nvp", "skill_vae"):
            flags = ("--checkpoint=run", f"--model={model}", f"--output={model}_alone")
            ended = succeed("experiments.export", flags, folder)
            assert f"--through={model}_alone/ takes it" in ended.stdout
        yield folder


@pytest.mark.parametrize("model", ["real_nvp", "skill_vae"])
def test_it_is_the_same_model_for_the_same_environment(folder: Path, model: str) -> None:
    env = make_env("maze/test?distance=3&episode_length=20")
    shipped = stage_of("through", str(folder / f"{model}_alone"), env)
    ours = restore_model(shipped, folder).params
    # the run has two models, and the flag decides between them only where one can be meant
    theirs = restore_model(shipped._replace(source=folder / "run"), folder).params
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
    assert shipped.model.latent_size == {"real_nvp": 2, "skill_vae": 10}[model]


@pytest.mark.parametrize(("model", "method"), [("real_nvp", "parrot"), ("skill_vae", "spirl")])
def test_methods_act_through_it(folder: Path, model: str, method: str) -> None:
    """In another maze than the run's, with a run that goes on and is evaluated."""
    where = f"{method}_{model}"
    flags = (
        "--env=maze/validation?distance=3&episode_length=20",
        f"--methods={method}",
        f"--through={model}_alone/",
        *(("--sac.policy_widths=128,128,128",) if method == "spirl" else ()),
        *(x for x in ACT if method != "spirl" or "policy_widths" not in x),
        f"--workdir={where}",
    )
    succeed("experiments.run", flags, folder)
    summary = json.loads((folder / where / "summary.json").read_text())
    assert summary[f"{method}/steps"] == 200
    trusted = (f"--checkpoint={where}", "--episodes=2", f"--trust={model}_alone/")
    succeed("experiments.evaluate", trusted, folder)
    ended = run_program("experiments.evaluate", trusted[:2], folder)
    assert ended.status == 2
    assert f"add --trust={model}_alone/" in ended.stderr


def test_its_typical_values_are_those_that_it_has_learned_with(folder: Path) -> None:
    """An environment that finds other velocities typical gives the model the same numbers."""
    env = make_env("maze/test?distance=3&episode_length=20")
    spec = dict(env.observation_spec)
    spec["velocity"] = spec["velocity"]._replace(scale=17.0)
    name = str(folder / "real_nvp_alone")
    seen = {n: np.full(x.shape, 1, x.dtype) for n, x in spec.items()}
    features = []
    for one in (env, env._replace(observation_spec=spec)):
        model, params, _ = restore_model(stage_of("through", name, one), folder)
        features.append(model.encode(params, seen))
    np.testing.assert_array_equal(*features)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("point/dense", "sees velocity, [2] float32; point/dense has nothing of that name"),
        ("maze/test?patch=5", "sees patch"),
    ],
)
def test_environments_that_it_is_not_for_are_refused(folder: Path, env: str, words: str) -> None:
    flags = (f"--env={env}", "--methods=parrot", "--through=real_nvp_alone/", "--workdir=other")
    ended = run_program("experiments.run", flags, folder)
    assert ended.status == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("error: ")
    assert not (folder / "other").exists()


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in (folder / "real_nvp_alone").iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_damaged_folders_are_refused_in_a_line(folder: Path, tmp_path: Path) -> None:
    env = make_env("maze/test?distance=3&episode_length=20")

    def refused(name: str, content: bytes) -> str:
        place = copy_of(folder, tmp_path / f"{name}-{len(content)}")
        (place / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            restore_model(stage_of("through", str(place), env), tmp_path)
        return str(caught.value)

    flags = (folder / "real_nvp_alone" / "flags.txt").read_bytes()
    assert "is missing" in refused(MODEL_FILE, b"{}")
    assert "nested too deep" in refused(MODEL_FILE, b"[" * 50 + b"]" * 50)
    assert "is no whole file of safetensors" in refused(WEIGHTS_FILE, b"")
    assert "is larger than" in refused(WEIGHTS_FILE, bytes(5_000_000))
    other = safetensors_bytes({"w": np.zeros(3, np.float32)})
    assert "has other parameters than its flags say" in refused(WEIGHTS_FILE, other)
    wider = flags.replace(b"couplings=2", b"couplings=3")
    assert "has other parameters than its flags say" in refused("flags.txt", wider)
    strange = flags.replace(b"--model=real_nvp", b"--model=evil.module:net")
    assert "would import the module evil.module" in refused("flags.txt", strange)


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    env = make_env("maze/test?distance=3&episode_length=20")
    place = copy_of(folder, tmp_path / "linked")
    (place / WEIGHTS_FILE).unlink()
    (place / WEIGHTS_FILE).symlink_to(folder / "real_nvp_alone" / WEIGHTS_FILE)
    with pytest.raises(UserError, match="is a link"):
        stage_of("through", str(place), env)


def test_a_folder_that_a_file_names_is_not_read(folder: Path) -> None:
    env = make_env("maze/test?distance=3&episode_length=20")
    name = FromFile(str(folder / "real_nvp_alone"), "flags.txt says --through=it, which")
    with pytest.raises(UserError, match="a file may not do that by itself"):
        stage_of("through", name, env)


def test_what_the_run_has_not_learned_cannot_leave(folder: Path) -> None:
    flags = ("--checkpoint=run", "--model=gaussian", "--output=new")
    ended = run_program("experiments.export", flags, folder)
    assert ended.status == 2
    assert "--model=gaussian is not in run, which has learned: real_nvp, skill_vae" in ended.stderr
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (("--methods=parrot", "--through=pretrained/grasp"), "grasp/chair"),
        (("--methods=parrot", "--through=pretrained/place/"), "place/can-in-pan"),
        (
            ("--methods=spirl", "--through=pretrained/maze", "--sac.policy_widths=256,256,256"),
            "maze/test?distance=5",
        ),
    ],
)
def test_pretrained_models_are_here_from_any_folder(
    arguments: tuple[str, ...], env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_of(RUN, *arguments, f"--env={env}")
    plan = prepare(config, task_env(config))
    (stage,) = plan.stages.values()
    params = restore_model(stage, tmp_path).params
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
    # a file may name them too: they are this package's
    name = FromFile(config.through, "flags.txt says --through=it, which")
    assert stage_of("through", name, task_env(config)).source == stage.source
    assert stage.source is not None
    assert sum(x.stat().st_size for x in stage.source.iterdir()) < 3e6


def test_what_is_not_pretrained_is_refused() -> None:
    env = make_env("maze/test?distance=3&episode_length=20")
    there = "pretrained/grasp, pretrained/maze, pretrained/place"
    for name in ("pretrained/cup", "pretrained/../methods", "pretrained/"):
        with pytest.raises(UserError, match=f"none is pretrained so; there are: {there}"):
            stage_of("through", name, env)
