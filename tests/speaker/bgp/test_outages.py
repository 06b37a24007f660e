"""When the cluster is told that the engine does not answer."""

from collections.abc import Callable

import pytest

from speaker.bgp.outages import PATIENCE, Outages


class Due:
    """A call that is due, and may be taken back."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        if self._call is not None:
            self._call()


class OutageWatch:
    """Outages, and all that they are told and tell."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.told: list[str | None] = []
        self.due: list[Due] = []
        self.outages = Outages(lambda: self.trouble, self.told.append, self._later)

    def _later(self, seconds: float, call: Callable[[], None]) -> Due:
        assert seconds == PATIENCE
        self.due.append(Due(call))
        return self.due[-1]

    def is_now(self, trouble: str | None) -> None:
        self.trouble = trouble
        self.outages.look()


@pytest.fixture
def watch() -> OutageWatch:
    return OutageWatch()


def test_a_start_is_no_outage(watch: OutageWatch) -> None:
    for trouble in ("absent", "connecting", None):
        watch.is_now(trouble)
    watch.due[0].fire()
    assert (watch.told, len(watch.due)) == ([], 1)


def test_what_lasts_is_told_once_and_its_end_too(watch: OutageWatch) -> None:
    watch.is_now("hung")
    watch.due[0].fire()
    watch.is_now("absent")
    assert (watch.told, len(watch.due)) == (["hung"], 1)
    watch.is_now(None)
    watch.is_now(None)
    assert watch.told == ["hung", None]
    watch.is_now("hung")
    watch.due[1].fire()
    assert watch.told == ["hung", None, "hung"]


def test_what_is_true_when_it_is_told_is_told(watch: OutageWatch) -> None:
    watch.is_now("connecting")
    watch.is_now("hung")
    watch.due[0].fire()
    assert watch.told == ["hung"]


def test_nothing_is_told_after_the_end(watch: OutageWatch) -> None:
    watch.is_now("hung")
    watch.outages.close()
    watch.due[0].fire()
    assert watch.told == []
