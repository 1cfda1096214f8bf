"""Learners of a task by name. A new one is one new file and one line here.

A name is one of these, or `module:name`, where a module of the user's has a `LearnerKind` of that
name, and needs no line here.
"""

from __future__ import annotations

from behavior_priors.learners.kind import LearnerKind
from behavior_priors.system.own_modules import find_part

LEARNERS = {
    "sac": "behavior_priors.learners.sac",
    "ppo": "behavior_priors.learners.ppo",
}
"""Modules with a `KIND`, imported when it is asked for."""


def find_learner(name: str, *, flag: str) -> LearnerKind:
    """The learner of that name; see `own_modules.find_part`."""
    return find_part(name, LEARNERS, "KIND", LearnerKind, flag=flag)
