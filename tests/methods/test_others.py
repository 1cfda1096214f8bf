"""Models of other runs: what their flags name is imported with consent only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.methods.others import stage_of
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.presets import PARROT, RUN
from behavior_priors.methods.settings import chosen_methods
from behavior_priors.methods.tasks import task_env
from behavior_priors.runs.workdir import open_workdir
from behavior_priors.system.trust import FromFile
from tests.experiments.runs import ROOT
from tests.experiments.settings import config_of

MODULE = "examples.own_parts.cvae_prior"
TASK = "--env=maze/test?distance=3"


def run_of(folder: Path, *arguments: str) -> str:
    """The folder of a run, of which only the flags are there."""
    config = config_of(RUN, TASK, *arguments)
    return str(open_workdir(folder, experiment="run", flags_text=flags.to_text(config)))


def test_the_model_that_is_meant_is_found(tmp_path: Path) -> None:
    env = task_env(config_of(RUN, TASK))
    folder = run_of(tmp_path / "one", "--methods=spirl", "--skill_vae.latent_size=3")
    stage = stage_of("through", folder, env)
    assert (stage.name, stage.source, stage.config.latent_size) == ("skill_vae", Path(folder), 3)
    # of several the one that enters in the same way
    folder = run_of(tmp_path / "two", "--methods=bc_sac,parrot", "--real_nvp.couplings=6")
    assert stage_of("start_from", folder, env).name == "gaussian"
    assert stage_of("through", folder, env).config.couplings == 6
    with pytest.raises(UserError, match="has gaussian, real_nvp, and one has to be meant"):
        stage_of("close_to", folder, env)
    with pytest.raises(UserError, match="has no model, and one has to be meant"):
        stage_of("through", run_of(tmp_path / "none", "--methods=sac"), env)


def test_a_models_name_is_no_folder_that_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the folder of a run, which has a folder for each of its models."""
    monkeypatch.chdir(tmp_path)
    for name in ("real_nvp", f"{MODULE}:cvae", "mine"):
        run_of(tmp_path / name, "--methods=parrot")
    assert sources("--methods=own", "--through=real_nvp") == {"real_nvp": None}
    own = f"{MODULE}:cvae"
    assert sources("--methods=own", f"--through={own}") == {own: None}
    assert sources("--methods=own", "--through=mine") == {"mine": Path("mine")}


def sources(*arguments: str) -> dict[str, Path | None]:
    """Where a run would have its models from."""
    config = config_of(RUN, TASK, *arguments)
    stages = stages_of(chosen_methods(config), config, task_env(config))
    return {name: stage.source for name, stage in stages.items()}


def test_models_that_another_run_has_learned_with_the_same_flags_are_taken(tmp_path: Path) -> None:
    wide = "--real_nvp.encoder_widths=32"
    folder = run_of(tmp_path / "run", "--methods=parrot,bc_sac", wide)
    given = f"--models={folder}"
    assert sources("--methods=parrot,bc_sac,sac", wide, given) == {
        "real_nvp": Path(folder),
        "gaussian": Path(folder),
    }
    # what it has not is learned, under whatever seed
    assert sources("--methods=parrot,hirl", wide, given, "--seed=3") == {
        "real_nvp": Path(folder),
        "conditional_vae": None,
    }
    # a clone that has the widths of another policy is another
    for ours, there, here in (
        ("--real_nvp.couplings=6", "--real_nvp.couplings=4", "--real_nvp.couplings=6"),
        ("--real_nvp_fit.steps=500", "--real_nvp_fit.steps=10000", "--real_nvp_fit.steps=500"),
        ("--sac.policy_widths=8", "--gaussian.widths=none", "--gaussian.widths=8"),
    ):
        with pytest.raises(UserError, match=f"learned with {there}, and {here} is asked for"):
            sources("--methods=parrot,bc_sac", wide, given, ours)


@pytest.mark.parametrize("task", ["place/can-in-pan", "grasp/cap"])
def test_the_tasks_of_figure_3_take_their_models(task: str, tmp_path: Path) -> None:
    presets = ROOT / "experiments/flags/parrot"
    learned = config_of(PARROT, f"--flagfile={presets}/figure3_models.flags")
    folder = open_workdir(tmp_path, experiment="parrot", flags_text=flags.to_text(learned))
    flagfile = f"--flagfile={presets}/figure3_task.flags"
    config = config_of(PARROT, flagfile, f"--env={task}", f"--models={folder}")
    stages = stages_of(chosen_methods(config), config, task_env(config))
    assert {stage.source for stage in stages.values()} == {folder}
    assert len(stages) == 6


def test_runs_that_have_no_models_to_take(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", "--methods=parrot")
    with pytest.raises(UserError, match="the run has real_nvp, and gaussian is asked for"):
        sources("--methods=bc_sac", f"--models={folder}")
    second = run_of(tmp_path / "second", "--methods=parrot", f"--models={folder}")
    with pytest.raises(UserError, match=rf"has its models from {folder}; give that"):
        sources("--methods=parrot", f"--models={second}")
    with pytest.raises(UserError, match=r"--models=.*nowhere"):
        sources("--methods=parrot", f"--models={tmp_path / 'nowhere'}")


def test_a_file_names_no_models_by_itself(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", "--methods=parrot")
    config = config_of(RUN, TASK, "--methods=parrot")
    for trust in ((), (folder,)):
        named = dataclasses.replace(config, models=FromFile(folder, "a file says", trust))
        if trust:
            assert stages_of(chosen_methods(named), named, task_env(named))
            continue
        with pytest.raises(UserError, match=rf"read the folder .* add --trust={folder}$"):
            stages_of(chosen_methods(named), named, task_env(named))


def test_modules_of_other_runs_need_consent(tmp_path: Path) -> None:
    env = task_env(config_of(RUN, TASK))
    folder = run_of(tmp_path / "run", "--methods=own", f"--through={MODULE}:cvae")
    with pytest.raises(UserError, match=rf"add --trust={MODULE}$"):
        stage_of("through", folder, env)
    assert stage_of("through", folder, env, [MODULE]).name == "cvae"
    # whoever wrote a file cannot consent
    with pytest.raises(UserError, match=rf"add --trust={MODULE}$"):
        stage_of("through", folder, env, [FromFile(MODULE, "a file says")])
    named = FromFile(folder, "a file says", (folder, MODULE))
    assert stage_of("through", named, env).name == "cvae"
    with pytest.raises(UserError, match=rf"add --trust={MODULE}$"):
        stage_of("through", FromFile(folder, "a file says", (folder,)), env)
