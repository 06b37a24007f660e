"""A short run of the fuzzer of bench/; the long one is `python -m bench.fuzz 10000000`."""

import importlib.util
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[2] / "bench" / "fuzz.py"


def test_mutated_frames_crash_nothing_and_some_are_still_questions() -> None:
    spec = importlib.util.spec_from_file_location("bench_fuzz", FUZZ)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    assert 0 < module.run(20_000, seed=1) < 20_000
