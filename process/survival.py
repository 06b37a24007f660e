"""Tells whoever listens to a loop what was raised in it, where work goes on all the same."""

import asyncio
from typing import Any

LATER = "later"
"""The part of what was put off."""
LOOP = "loop"
"""The part of anything else that a loop calls."""


def survive(part: str, error: Exception, **about: Any) -> None:
    """Tell whoever listens to the running loop that this was raised, and that work goes on.

    `part` is one of the program's own parts, or one of the two above, which every program has.
    """
    context = {"message": "survived", "exception": error, "part": part, **about}
    asyncio.get_running_loop().call_exception_handler(context)
