"""Learners by name. A new one is one new file and one line here.

A name is one of these, or `module:name`, where a module of the user's has a `LearnerKind` of that
name, or a `MetaKind` where tasks are inferred, and needs no line here.
"""

from __future__ import annotations

from behavior_priors.errors import UserError
from behavior_priors.learners.kind import LearnerKind, MetaKind
from behavior_priors.system.own_modules import find_part

LEARNERS = {
    "sac": "behavior_priors.learners.guided_sac",
    "ppo": "behavior_priors.learners.ppo",
}
"""Of one task: modules with a `KIND`, imported when it is asked for."""

META_LEARNERS = {
    "sac": "behavior_priors.learners.pearl",
}
"""Of many tasks that are inferred: modules with a `KIND`, by what they learn with."""


def find_learner(name: str, *, flag: str) -> LearnerKind:
    """The learner of that name; see `own_modules.find_part`."""
    return find_part(name, LEARNERS, "KIND", LearnerKind, flag=flag)


def find_meta_learner(name: str, *, flag: str) -> MetaKind:
    """The learner of many tasks of that name; see `own_modules.find_part`.

    Raises:
      UserError: as there, or it learns single tasks only.
    """
    if name in LEARNERS and name not in META_LEARNERS:
        raise UserError(
            f"--{flag}={name} learns no tasks that are inferred; use one of: "
            f"{', '.join(META_LEARNERS)}; or MODULE:NAME with a module of yours; or --infer=none"
        )
    return find_part(name, META_LEARNERS, "KIND", MetaKind, flag=flag)
