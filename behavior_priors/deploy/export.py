"""Policies and models that leave: folders that go to a robot, or to whoever has another task.

A policy's folder:
  policy.json           what it observes and does, and whence it comes
  weights.safetensors   its parameters, and its memory where nothing is remembered
  policy.stablehlo      observation -> action, as `jax.export` makes it for cpu, cuda and tpu
  policy.py             `load`, for a machine that has jax and numpy alone

A model's folder, which `--through=` and the like take where a model's name may stand:
  model.json, flags.txt, weights.safetensors
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export as jax_export

from behavior_priors import policy as policy_module
from behavior_priors.deploy.load import Loaded, take_out
from behavior_priors.errors import UserError
from behavior_priors.methods.others import restore_model
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.restoring import find_env, read_config
from behavior_priors.methods.settings import chosen_methods, learned_models
from behavior_priors.methods.shipped import ship
from behavior_priors.policy import (
    FACTS_FILE,
    PROGRAM_FILE,
    WEIGHTS_FILE,
    check_program,
    safetensors_bytes,
    step_shapes,
)
from behavior_priors.runs.workdir import FLAGS_FILE, versions, write_json_atomic
from behavior_priors.system.files import reason, write_atomically

PLATFORMS = ("cpu", "cuda", "tpu")

_BLOCK = 1 << 20


def export_policy(
    workdir: Path,
    folder: Path,
    method: str | None = None,
    *,
    explore: bool = False,
    seed: int = 0,
    platforms: Sequence[str] = PLATFORMS,
    trust: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes a run's policy into a folder of its own.

    Args:
      workdir: of the run.
      folder: to be made.
      method: whose policy; may be left out where the run has one method.
      explore: it draws actions, instead of taking the most likely ones.
      seed: of what is drawn.
      platforms: kinds of devices that it is compiled for where it is used.
      trust: modules that the run's flags name and that may be imported.

    Returns:
      What `policy.json` says.

    Raises:
      UserError: there is no such run or method, the folder is not empty, or cannot be written.
    """
    check_output(folder)
    loaded = take_out(workdir, method, explore=explore, seed=seed, trust=trust, flags=True)
    memory = {f"memory.{i}": x for i, x in enumerate(loaded.memory)}
    program = _program(loaded, platforms)
    facts = {
        **loaded.facts,
        "weights": list(loaded.weights),
        "memory": list(memory),
        "program": {
            "platforms": list(program.platforms),
            "calling_convention_version": program.calling_convention_version,
            "kept_arguments": list(program.module_kept_var_idx),
            "uses_global_constants": program.uses_global_constants,
        },
        "flags": _flags(workdir),
        "data": data_facts(workdir),
        "versions": versions(),
    }
    write_atomically(folder / WEIGHTS_FILE, safetensors_bytes(loaded.weights | memory))
    write_atomically(folder / PROGRAM_FILE, program.mlir_module_serialized)
    write_atomically(folder / "policy.py", inspect.getsource(policy_module))
    write_json_atomic(folder / FACTS_FILE, facts)
    return facts


def export_model(
    workdir: Path, folder: Path, model: str, *, trust: Sequence[str] = ()
) -> dict[str, Any]:
    """Writes a model that a run has learned into a folder of its own.

    Args:
      workdir: of the run.
      folder: to be made.
      model: its name.
      trust: modules that the run's flags name and that may be imported.

    Returns:
      What is said of it beside what it sees.

    Raises:
      UserError: there is no such run or model, the folder is not empty, or cannot be written.
    """
    check_output(folder)
    config = read_config(workdir, f"--checkpoint={workdir}", trust)
    methods = chosen_methods(config)
    names = learned_models(methods)
    if model not in names:
        there = ", ".join(names) or "none"
        raise UserError(f"--model={model} is not in {workdir}, which has learned: {there}")
    env = find_env(config, workdir)
    fitted = restore_model(stages_of(methods, config, env)[model], workdir)
    facts = {
        "model": model,
        "environment": config.env,
        "training": _flags(workdir),
        "data": data_facts(workdir),
        "versions": versions(),
    }
    ship(folder, model, fitted, env, facts)
    return facts


def check_output(folder: Path) -> None:
    """Refuses to write where something is already.

    Raises:
      UserError: something is.
    """
    try:
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise UserError(f"--output={folder} cannot be used: {reason(error).lower()}") from None
    if not is_free:
        raise UserError(f"--output={folder} is there already; give a new or empty folder")


def _program(loaded: Loaded, platforms: Sequence[str]) -> Any:
    """A policy as a program that any JAX of the coming months can run."""
    shapes = step_shapes(loaded.facts, list(loaded.weights.values()), loaded.memory)
    exported = jax_export.export(jax.jit(loaded.step), platforms=list(platforms))(*shapes)
    try:
        check_program(exported.mlir_module(), Path(PROGRAM_FILE))
    except ValueError as error:
        raise UserError(f"this policy cannot leave: {error}") from None
    return exported


def _flags(workdir: Path) -> list[str]:
    """The flags of a run, but for what is nobody else's: its place, and whom its owner trusts."""
    lines = (workdir / FLAGS_FILE).read_text(encoding="utf-8").splitlines()
    private = ("--workdir=", "--trust=")
    return [x for x in lines if x.startswith("--") and not x.startswith(private)]


def data_facts(workdir: Path) -> Mapping[str, Any] | None:
    """Which demonstrations a run has learned from; None where they are not there."""
    folder = workdir / "data"
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return {"files": len(files), "sha256": digest.hexdigest()}
