"""Compositions that occur nowhere in training: those to tune on, and those to test on.

Frames and sizes are as in `compositions`.
"""

from __future__ import annotations

import itertools

import numpy as np

from behavior_priors.envs.manipulation.primitives import Draft, Primitive, box, rod, sphere, turned


def mug(w: float, d: float, h: float) -> Draft:
    """A body with a handle beside it."""
    return Draft(
        [
            box(0.9 * w, 0.9 * w, h, (0, 0, 0)),
            box(0.5 * w, 0.22 * w, 0.5 * h, (0.7 * w, 0, 0.25 * h)),
        ],
        (0, 0, 0.55 * h),
        [
            rod(0.5 * w, h, (0, 0, h / 2), "z", "cylinder"),
            box(0.4 * w, 0.2 * w, 0.12 * h, (0.65 * w, 0, 0.25 * h)),
            box(0.4 * w, 0.2 * w, 0.12 * h, (0.65 * w, 0, 0.63 * h)),
            box(0.12 * w, 0.2 * w, 0.5 * h, (0.85 * w, 0, 0.25 * h)),
        ],
    )


def cap(w: float, d: float, h: float) -> Draft:
    """A dome on a brim that reaches forward."""
    return Draft(
        [box(1.9 * w, w, 0.2 * h, (0.35 * w, 0, 0)), sphere(0.5 * w, (0, 0, 0.5 * w))],
        (0, 0, 0.5 * w),
    )


def chair(w: float, d: float, h: float) -> Draft:
    """A seat with a back behind it."""
    seat = 0.35 * h
    return Draft(
        [box(d, w, seat, (0, 0, 0)), box(0.18 * d, w, h - seat, (-0.41 * d, 0, seat))],
        (0.15 * d, 0, 0.5 * seat),
        [
            box(d, w, 0.15 * h, (0, 0, seat - 0.15 * h)),
            box(0.18 * d, w, h - seat, (-0.41 * d, 0, seat)),
            *(
                box(0.009, 0.009, seat, (sx * 0.4 * d, sy * 0.4 * w, 0))
                for sx, sy in itertools.product((-1, 1), (-1, 1))
            ),
        ],
    )


def vase(w: float, d: float, h: float) -> Draft:
    """A body with a handle on either side."""
    return Draft(
        [box(0.9 * w, 0.9 * w, h, (0, 0, 0)), box(2.2 * w, 0.25 * w, 0.18 * h, (0, 0, 0.62 * h))],
        (0, 0, 0.45 * h),
        [
            rod(0.5 * w, 0.7 * h, (0, 0, 0.35 * h), "z", "cylinder"),
            rod(0.35 * w, 0.3 * h, (0, 0, 0.85 * h), "z", "cylinder"),
            box(2.2 * w, 0.22 * w, 0.08 * h, (0, 0, 0.72 * h)),
            box(0.2 * w, 0.22 * w, 0.3 * h, (1.0 * w, 0, 0.45 * h)),
            box(0.2 * w, 0.22 * w, 0.3 * h, (-1.0 * w, 0, 0.45 * h)),
        ],
    )


def can(w: float, d: float, h: float) -> Draft:
    """A body with a small bow on its lid."""
    return Draft(
        [box(0.9 * w, 0.9 * w, 0.85 * h, (0, 0, 0)), rod(0.1 * w, 0.5 * w, (0, 0, 0.95 * h), "x")],
        (0, 0, 0.5 * h),
        [
            rod(0.46 * w, 0.8 * h, (0, 0, 0.4 * h), "z", "cylinder"),
            rod(0.5 * w, 0.06 * h, (0, 0, 0.83 * h), "z", "cylinder"),
            rod(0.1 * w, 0.5 * w, (0, 0, 0.95 * h), "x"),
        ],
    )


def sculpture(w: float, d: float, h: float) -> Draft:
    """A ball on a turned block on a foot."""
    return Draft(
        [
            box(1.2 * w, 1.1 * w, 0.2 * h, (0, 0, 0)),
            box(0.6 * w, 0.6 * w, 0.5 * h, (0, 0, 0.2 * h), turned(np.pi / 4, "z")),
            sphere(0.4 * w, (0, 0, 0.7 * h + 0.3 * w)),
        ],
        (0, 0, 0.5 * h),
    )


def bar(w: float, d: float, h: float) -> Draft:
    """A long bar with a knob on one side."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), sphere(0.62 * w, (0.25 * d, 0, h))],
        (-0.02 * d, 0, 0.55 * h),
    )


def house(w: float, d: float, h: float) -> Draft:
    """A block under a roof."""
    side = 0.62 * w
    roof = Primitive("box", (d / 2, side / 2, side / 2), (0, 0, 0.6 * h), turned(np.pi / 4, "x"))
    return Draft([box(d, 0.85 * w, 0.6 * h, (0, 0, 0)), roof], (0, 0, 0.45 * h))


def dumbbell(w: float, d: float, h: float) -> Draft:
    """Two blocks joined by a rod."""
    return Draft(
        [
            box(0.28 * d, w, h, (-0.36 * d, 0, 0)),
            box(0.28 * d, w, h, (0.36 * d, 0, 0)),
            rod(0.42 * w, 0.6 * d, (0, 0, 0.5 * h)),
        ],
        (0, 0, 0.5 * h),
    )


def teapot(w: float, d: float, h: float) -> Draft:
    """A body with a spout beside it and a knob on top."""
    return Draft(
        [
            box(w, 0.95 * w, 0.75 * h, (0, 0, 0)),
            box(0.6 * w, 0.25 * w, 0.25 * h, (0.75 * w, 0, 0.4 * h)),
            sphere(0.2 * w, (0, 0, 0.75 * h + 0.15 * w)),
        ],
        (0, 0, 0.45 * h),
    )


def pan(w: float, d: float, h: float) -> Draft:
    """A flat pan with a round handle."""
    return Draft(
        [
            box(1.3 * w, 1.3 * w, h, (0.9 * w + 0.3 * d, 0, 0)),
            rod(0.3 * w, 0.8 * d, (0, 0, 0.6 * h)),
        ],
        (0.3 * d, 0, 0.6 * h),
    )
