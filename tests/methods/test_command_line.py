"""Flags of chosen parts only, and commands as they were written before."""

from __future__ import annotations

from pathlib import Path

import pytest
from absl import flags as absl_flags

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.methods.command_line import Preset, read_run, renamed
from behavior_priors.methods.presets import PARROT, RUN, SPIRL
from behavior_priors.runs.workdir import open_workdir
from tests.experiments.settings import config_of

FORMER = {r"a\.(.*)": r"b.\1", r"gone(=.*)?": "", r"one=(.*)": "x=\\1\ny=\\1"}


@pytest.mark.parametrize(
    ("line", "now"),
    [
        ("--a.x=1", ["--b.x=1"]),
        ("-a.x=1", ["--b.x=1"]),
        ("--a.x", ["--b.x"]),
        ("--aa.x=1", ["--aa.x=1"]),
        ("--c=a.x=1", ["--c=a.x=1"]),
        ("--gone", []),
        ("--gone=2", []),
        ("--one=a\\,b", ["--x=a\\,b", "--y=a\\,b"]),
        ("value", ["value"]),
    ],
)
def test_flags_are_called_as_they_are_now(line: str, now: list[str]) -> None:
    assert renamed(line, FORMER) == now


def test_only_chosen_parts_have_flags() -> None:
    config = config_of(RUN, "--methods=parrot", "--real_nvp.couplings", "6")
    assert config.real_nvp.couplings == 6  # type: ignore[attr-defined]
    text = flags.to_text(config)
    for part in ("real_nvp_fit.steps", "parrot.latents.bound", "sac.discount", "loop.steps"):
        assert f"--{part}=" in text
    for part in ("skill_vae", "gaussian", "ppo", "on_policy", "spirl", "divergence"):
        assert f"--{part}" not in text
    with pytest.raises(absl_flags.UnrecognizedFlagError, match=r"skill_vae\.beta"):
        config_of(RUN, "--methods=parrot", "--skill_vae.beta=1")
    # on-policy learners have a loop of their own
    text = flags.to_text(config_of(RUN, "--methods=bc_ppo"))
    assert "--on_policy.steps" in text
    assert "--loop.steps" not in text


def test_methods_that_are_compared_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "both.flags"
    file.write_text(
        "--methods=sac\n--skill_vae.beta=0.5\n--sac.discount=0.9\n--spirl.latents.bound=1"
    )
    config = config_of(RUN, f"--flagfile={file}")
    assert config.sac.discount == 0.9  # type: ignore[attr-defined]
    assert not hasattr(config, "skill_vae")
    config = config_of(RUN, "--flagfile", str(file), "--methods=spirl")
    assert config.skill_vae.beta == 0.5  # type: ignore[attr-defined]
    assert config.spirl.latents.bound == 1.0  # type: ignore[attr-defined]
    file.write_text("--skill_vae.bta=0.5\n--methods=sac")
    with pytest.raises(absl_flags.UnrecognizedFlagError, match=r"skill_vae\.bta"):
        config_of(RUN, f"--flagfile={file}")


@pytest.mark.parametrize("preset", [PARROT, SPIRL], ids=["parrot", "spirl"])
def test_every_preset_is_read(preset: Preset) -> None:
    for path in sorted(Path("experiments/flags", preset.owner).glob("*.flags")):
        config = config_of(preset, f"--flagfile={path}")
        assert config.env


def test_commands_of_parrot_and_spirl_mean_what_they_did() -> None:
    config = config_of(PARROT, "--flow.couplings=3", "--fit.steps=500", "--latent_bound=1.5")
    assert config.methods == ("parrot", "sac")
    assert config.real_nvp.couplings == 3  # type: ignore[attr-defined]
    assert config.real_nvp_fit.steps == 500  # type: ignore[attr-defined]
    latents = config.parrot.latents  # type: ignore[attr-defined]
    assert (latents.bound, latents.mean_bound, latents.max_log_std) == (1.5, 2.0, 0.0)
    config = config_of(SPIRL, "--skill.horizon=5", "--fit.steps=500", "--divergence.target=3")
    assert config.methods == ("spirl",)
    assert config.skill_vae.horizon == 5  # type: ignore[attr-defined]
    fit = config.skill_vae_fit  # type: ignore[attr-defined]
    assert (fit.steps, fit.batch_size, fit.gradient_clip, fit.keep) == (500, 128, 10.0, "last")
    assert config.spirl.divergence.target == 3.0  # type: ignore[attr-defined]
    config = config_of(SPIRL, "--method=flat_prior", "--clone_fit.steps=500", "--nostay_close")
    assert config.close_to == "none"
    assert config.gaussian_fit.steps == 500  # type: ignore[attr-defined]
    config = config_of(SPIRL, "--method", "ssp", "--skills=./other", "--squash_actions=true")
    assert (config.methods, config.through) == (("ssp",), "./other")
    assert config.ssp.latents.squash_actions  # type: ignore[attr-defined]
    assert config.ssp.latents.bound == 2.0  # type: ignore[attr-defined]


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = config_of(PARROT, "--methods=bc_sac", "--sac.discount=0.5", "--gaussian.widths=8,9")
    workdir = open_workdir(tmp_path / "run", experiment="parrot", flags_text=flags.to_text(config))
    again = read_run(PARROT, workdir / "flags.txt")
    assert flags.to_text(again) == flags.to_text(config)
    path = tmp_path / "flags.txt"
    path.write_text("# experiment: parrot\n--methods=nope\n")
    with pytest.raises(UserError, match=r"flags\.txt: --methods=nope is unknown"):
        read_run(PARROT, path)
