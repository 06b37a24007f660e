"""How long to wait after failures: one rule for all that ask or write. Pure."""

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
"""Back-off after failures, in seconds: doubled each time, and jittered downwards by up to half.

`Retry-After` counts up to the longest one as well: a server, or a proxy before it, that says a year
would have us blind for a year.
"""
MAX_DOUBLINGS = 10
"""More make no difference, and a power of two of any size is a number of any size."""


def delay_after(failures: int, retry_after: float, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row, one at least.

    `retry_after` is what the server asked for, 0 for nothing; `jitter` is between 0.5 and 1.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * float(1 << min(failures - 1, MAX_DOUBLINGS)))
    return max(min(retry_after, LONGEST_DELAY), longest * jitter)
