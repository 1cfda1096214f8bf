"""Models of other runs: what their flags name is imported with consent only."""

from __future__ import annotations

from pathlib import Path

import pytest

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.methods.others import stage_of
from behavior_priors.methods.presets import RUN
from behavior_priors.methods.tasks import task_env
from behavior_priors.runs.workdir import open_workdir
from behavior_priors.system.trust import FromFile
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
