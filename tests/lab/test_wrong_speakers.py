"""Speakers that are wrong in one way each fail for just that; the right one passes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WRAPPER = Path(__file__).with_name("wrong_speakers.py")
AT_ONCE = 3
"""Labs side by side: each waits most of its time, and what a wrong one gets wrong shows anyway."""
WRONG = {
    "late-90": "answer_ms",
    "late-200": "answer_ms",
    "every-second": "late_share",
    "thief": "bystanders: claimants",
    "chatty": "frames of one kind",
    "favourite": "the second client's neighbour entry names",
}

pytestmark = [pytest.mark.root, pytest.mark.lab]


def measured(mode: str, folder: Path) -> dict[str, Any]:
    """What the lab writes about that speaker when an owner's power is cut."""
    file = folder / f"{mode}.json"
    speaker = f"{sys.executable} {WRAPPER} {mode}"
    options = ["--converge", "20", "--settle", "2", "--speaker", speaker]
    command = [sys.executable, "-m", "netnslab", *options, "run", "power-off", "--json", str(file)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'netns-lab'}:{ROOT}"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert file.exists(), done.stdout + done.stderr
    document: dict[str, Any] = json.loads(file.read_text())
    assert done.returncode == (0 if document["ok"] else 1)
    return document


Results = dict[str, Future[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    folder = tmp_path_factory.mktemp("wrong")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {mode: pool.submit(measured, mode, folder) for mode in WRONG}


def test_the_wrapped_speaker_passes_while_it_is_right(tmp_path: Path) -> None:
    assert measured("right", tmp_path)["failures"] == []


@pytest.mark.parametrize(("mode", "word"), WRONG.items())
def test_a_wrong_speaker_fails_for_what_is_wrong(mode: str, word: str, results: Results) -> None:
    document = results[mode].result()
    assert document["runs"], document["failures"]
    assert [failure for failure in document["failures"] if word in failure], document["failures"]
