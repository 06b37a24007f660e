"""The speaker asks for short slices of a processor, and changes nothing else of its scheduling."""

import os
import platform
import subprocess
import sys

# Older kernels take the wish and tell of no slice.
TOLD = 100_000 if [int(n) for n in platform.release().split(".")[:2]] >= [6, 12] else 0
CODE = """
import os, threading
from process.time_slice import nanoseconds, shorten
{before}
print(shorten())
def tell():
    print(os.sched_getscheduler(0), os.nice(0), nanoseconds())
tell()
thread = threading.Thread(target=tell)
thread.start()
thread.join()
"""


def told(before: str) -> list[str]:
    """What a process says of itself and of a thread that it starts: policy, nice value, slice."""
    command = [sys.executable, "-c", CODE.format(before=before)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()


def test_short_slices_are_had_without_privilege_and_the_nice_value_stays() -> None:
    before = (
        "os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)); os.nice(3)\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)"
    )
    short = f"{os.SCHED_OTHER} {os.nice(0) + 3} {TOLD}"
    assert told(before) == ["True", short, short]


def test_another_policy_is_left_alone() -> None:
    before = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    first, *states = told(before)
    assert first == "False"
    assert all(state.startswith(f"{os.SCHED_IDLE} ") for state in states)


def test_an_unknown_machine_is_left_alone() -> None:
    before = "import platform; platform.machine = lambda: 'vax'"
    assert told(before)[0] == "False"
