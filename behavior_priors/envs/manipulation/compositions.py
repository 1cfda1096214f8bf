"""Ways of putting primitives together, of the objects that training data may show.

Each is a function from width, depth and height in metres to shapes. A composition's frame has its
origin on the table below it and its y axis across the narrow side, where fingers go.
"""

from __future__ import annotations

import itertools

from behavior_priors.envs.manipulation.primitives import Draft, box, rod, sphere


def block(w: float, d: float, h: float) -> Draft:
    """A block."""
    return Draft([box(d, w, h, (0, 0, 0))], (0, 0, h / 2))


def bottle(w: float, d: float, h: float) -> Draft:
    """A body with a neck on it."""
    body, neck = 0.6 * h, 0.4 * h
    return Draft(
        [
            box(0.9 * w, 0.9 * w, body, (0, 0, 0)),
            rod(0.22 * w, neck - 0.22 * w, (0, 0, body + neck / 2 - 0.11 * w), "z"),
        ],
        (0, 0, 0.35 * h),
        [
            rod(0.5 * w, body, (0, 0, body / 2), "z", "cylinder"),
            rod(0.22 * w, neck, (0, 0, body + neck / 2), "z", "cylinder"),
            rod(0.28 * w, 0.008, (0, 0, h), "z", "cylinder"),
        ],
    )


def bowl(w: float, d: float, h: float) -> Draft:
    """A foot under a wider rim."""
    return Draft(
        [box(0.6 * w, 0.6 * w, 0.5 * h, (0, 0, 0)), box(w, w, 0.5 * h, (0, 0, 0.5 * h))],
        (0, 0, 0.6 * h),
        [
            rod(0.32 * w, 0.3 * h, (0, 0, 0.15 * h), "z", "cylinder"),
            rod(0.45 * w, 0.3 * h, (0, 0, 0.45 * h), "z", "cylinder"),
            rod(0.52 * w, 0.4 * h, (0, 0, 0.8 * h), "z", "cylinder"),
        ],
    )


def bun(w: float, d: float, h: float) -> Draft:
    """A round top on a flat bottom."""
    return Draft(
        [box(d, w, 0.4 * h, (0, 0, 0)), rod(w / 2, max(d - w, 0.004), (0, 0, 0.5 * h))],
        (0, 0, 0.5 * h),
    )


def hammer(w: float, d: float, h: float) -> Draft:
    """A handle with a head across its end."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), box(1.2 * h, 2.4 * w, 1.2 * h, (d / 2 + 0.6 * h, 0, 0))],
        (0.15 * d, 0, 0.6 * h),
    )


def stool(w: float, d: float, h: float) -> Draft:
    """A seat on a narrower foot."""
    leg = 0.7 * h
    return Draft(
        [box(0.75 * d, 0.5 * w, leg, (0, 0, 0)), box(d, w, h - leg, (0, 0, leg))],
        (0, 0, 0.75 * h),
        [
            box(d, w, h - leg, (0, 0, leg)),
            *(
                box(0.01, 0.01, leg, (sx * 0.35 * d, sy * 0.35 * w, 0))
                for sx, sy in itertools.product((-1, 1), (-1, 1))
            ),
        ],
    )


def tee(w: float, d: float, h: float) -> Draft:
    """Two bars that meet in a T, lying flat."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), box(w, 0.9 * d, h, (d / 2 + w / 2, 0, 0))], (0, 0, 0.6 * h)
    )


def ell(w: float, d: float, h: float) -> Draft:
    """Two bars that meet in an L, lying flat."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), box(w, 0.6 * d, h, (d / 2 + w / 2, 0.3 * d - w / 2, 0))],
        (0, 0, 0.6 * h),
    )


def lamp(w: float, d: float, h: float) -> Draft:
    """A shade on a pole on a foot."""
    foot = 0.012
    return Draft(
        [
            box(1.3 * w, 1.3 * w, foot, (0, 0, 0)),
            rod(0.2 * w, 0.45 * h, (0, 0, 0.35 * h), "z"),
            box(w, w, 0.4 * h, (0, 0, 0.6 * h)),
        ],
        (0, 0, 0.72 * h),
        [
            rod(0.65 * w, foot, (0, 0, foot / 2), "z", "cylinder"),
            rod(0.15 * w, 0.6 * h, (0, 0, 0.3 * h), "z", "cylinder"),
            rod(0.55 * w, 0.4 * h, (0, 0, 0.8 * h), "z", "cylinder"),
        ],
    )


def arch(w: float, d: float, h: float) -> Draft:
    """A beam on two pillars."""
    return Draft(
        [
            box(0.25 * d, w, 0.75 * h, (-0.375 * d, 0, 0)),
            box(0.25 * d, w, 0.75 * h, (0.375 * d, 0, 0)),
            rod(0.4 * w, 0.6 * d, (0, 0, 0.75 * h)),
        ],
        (0, 0, 0.75 * h),
    )


def car(w: float, d: float, h: float) -> Draft:
    """A cabin on a longer body."""
    return Draft(
        [box(d, w, 0.55 * h, (0, 0, 0)), box(0.5 * d, 0.8 * w, 0.45 * h, (-0.08 * d, 0, 0.55 * h))],
        (0, 0, 0.45 * h),
        [
            box(d, 0.92 * w, 0.45 * h, (0, 0, 0.1 * h)),
            box(0.5 * d, 0.8 * w, 0.45 * h, (-0.08 * d, 0, 0.55 * h)),
            *(
                rod(0.16 * h + 0.002, w, (sx * 0.3 * d, 0, 0.17 * h), "y", "cylinder")
                for sx in (-1, 1)
            ),
        ],
    )


def boat(w: float, d: float, h: float) -> Draft:
    """A mast on a flat hull."""
    return Draft(
        [box(d, w, 0.4 * h, (0, 0, 0)), rod(0.1 * w, 0.5 * h, (0.15 * d, 0, 0.68 * h), "z")],
        (-0.1 * d, 0, 0.25 * h),
    )


def snowman(w: float, d: float, h: float) -> Draft:
    """A ball on a body."""
    head = 0.42 * w
    return Draft(
        [box(0.9 * w, 0.9 * w, h - 2 * head, (0, 0, 0)), sphere(head, (0, 0, h - head))],
        (0, 0, 0.45 * h),
    )


def cross(w: float, d: float, h: float) -> Draft:
    """Two bars that cross, lying flat."""
    return Draft([box(d, w, h, (0, 0, 0)), box(w, d, h, (0.2 * d, 0, 0))], (-0.25 * d, 0, 0.6 * h))
