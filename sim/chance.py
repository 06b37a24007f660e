"""Where the chance of a run comes from: the one part of a simulated node that is not pure."""

import random


def make_rng(seed: int, *names: object) -> random.Random:
    """Return a generator for each part, so that they do not disturb each other."""
    text = ":".join(str(name) for name in (seed, *names))
    return random.Random(text)  # noqa: S311 - a simulation must be repeatable
