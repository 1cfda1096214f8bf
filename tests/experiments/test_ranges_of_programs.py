"""All numeric flags of all programs against numbers that few of them can take."""

from __future__ import annotations

import pytest
from absl import flags as absl_flags

from behavior_priors.config import flags, ranges
from tests.chaos.bad_inputs import CONFIGS, class_of, flags_of

NO_NUMBERS = ("nan", "inf", "-inf", "1e39", "-1e39")
NO_INTEGERS = ("1.5", "4294967296", "99999999999999999999999", "-4294967296")

MAY_BE_ZERO = {
    *("seed", "seeds", "noise", "action_low", "action_high"),
    *("video_episodes", "report_episodes", "test", "oracle_episodes"),
    *("target_entropy", "min_log_std", "anneal_steps", "history"),
    *("share", "end_share", "decay_steps"),
    *("max_log_std", "policy_decay", "weight_decay", "entropy_weight", "divergence_weight"),
    *("discount", "gae_lambda", "policy_delay", "padding", "padding_noise", "warmup_steps"),
    *("prior_steps", "posterior_steps", "extra_steps", "eval_every", "exploration", "target"),
}
"""Last parts of the flags that 0 means something for."""

MAY_BE_NEGATIVE = {
    *("action_low", "action_high", "latent_max_log_std", "latent_target_entropy"),
    *("target_entropy", "min_log_std", "max_log_std", "target"),
}

NEVER_ZERO = {"video_episodes": "evaluate"}
"""Among the former, those that one of the programs cannot do without."""


@pytest.mark.parametrize("program", CONFIGS)
def test_every_number_has_its_range(program: str) -> None:
    values, names = absl_flags.FlagValues(), []
    flags.define(class_of(program), flag_values=values)
    for flag in flags_of(class_of(program)):
        found = ranges.number_type(flag.hint)
        if found is None:
            continue
        names.append(flag.name)
        last = flag.name.rpartition(".")[2]
        bad = [*NO_NUMBERS, *(NO_INTEGERS if found[0] is int else ())]
        zero = last in MAY_BE_ZERO and not program.endswith(NEVER_ZERO.get(last, "nothing"))
        for text, is_good in (("0", zero), ("-1", last in MAY_BE_NEGATIVE)):
            bad += [] if is_good else [text]
            if is_good:
                values([program, f"--{flag.name}={text}"])
        for text in bad:
            with pytest.raises(absl_flags.IllegalFlagValueError) as error:
                values([program, f"--{flag.name}={text}"])
            assert str(error.value).startswith(f"flag --{flag.name}={text}: "), error.value
    at_least = {"experiments.parrot": 59, "experiments.spirl": 91, "experiments.pearl": 44}
    assert len(names) >= at_least.get(program, 0)
