"""A thread at work does not hold up the loop, and collections are short."""

import gc
import subprocess
import sys
import weakref

from speaker import interpreter

CODE = """
import threading, time
from speaker import interpreter
{tune}
stop = []
def work():
    while not stop:
        pass
thread = threading.Thread(target=work)
thread.start()
times = []
for _ in range(40):
    began = time.perf_counter()
    time.sleep(0.001)
    times.append(time.perf_counter() - began)
stop.append(1)
thread.join()
print(sorted(times)[4])
"""


def short_wait(tune: str) -> float:
    """One of the shortest waits: other processes that want the processor make waits longer."""
    code = CODE.format(tune=tune)
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )


def test_what_wakes_up_gets_the_interpreter_back_at_once() -> None:
    """Against Python's own 5 ms, side by side, as machines differ."""
    assert short_wait("interpreter.tune()") < short_wait("") / 3


def test_what_is_young_does_not_wait_for_a_great_collection() -> None:
    class Knot:
        """Refers to itself, so that only a collection frees it."""

        def __init__(self) -> None:
            self.knot = self

    gc.disable()
    try:
        knot, kept = Knot(), Knot()
        gone = weakref.ref(knot)
        del knot
        interpreter.tidy()
        assert gone() is None
        young = (*gc.get_objects(generation=0), *gc.get_objects(generation=1))
        assert not any(found is kept for found in young)
    finally:
        gc.enable()
