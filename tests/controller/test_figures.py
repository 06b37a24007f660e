"""What /metrics says of a replica's lease, of decisions under way, and of certificates."""

from pathlib import Path
from typing import Any

import structlog

from apiserver import certificates
from controller.metrics import Figures, make_registry
from controller.webhooks.keeper import FileKeeper
from kube.api.leading import Leadership
from kube.api.lease import LeaseFailure, LeaseFigures, LeaseState
from process.tls import expiry


def test_the_lease_is_in_one_state_and_every_failure_is_there() -> None:
    states = {state.value: state is LeaseState.HOLDING for state in LeaseState}
    lease = LeaseFigures(states, 1.5, 7, dict.fromkeys(LeaseFailure, 0))
    registry = make_registry(Figures(lease=lambda: lease))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"clarion_controller_lease{name}", labels)

    assert {state: value("", state=state) for state in LeaseState} == {
        state: float(state is LeaseState.HOLDING) for state in LeaseState
    }
    assert (value("_age_seconds"), value("_transitions")) == (1.5, 7.0)
    assert {value("_failures_total", failure=failure) for failure in LeaseFailure} == {0.0}


def test_a_replica_without_a_lease_shows_no_state() -> None:
    registry = make_registry(Figures())
    assert registry.get_sample_value("clarion_controller_lease", {"state": "holding"}) is None
    assert registry.get_sample_value("clarion_controller_lease_age_seconds") == 0.0


def test_a_certificate_shows_its_end_by_its_use(tmp_path: Path) -> None:
    certificates(tmp_path, "127.0.0.1")
    for suffix in ("crt", "key"):
        (tmp_path / f"server.{suffix}").rename(tmp_path / f"tls.{suffix}")
    keeper = FileKeeper(tmp_path, lambda held: None, structlog.get_logger())
    assert keeper.expiry is None
    keeper.look()
    assert keeper.expiry == expiry((tmp_path / "tls.crt").read_bytes())
    registry = make_registry(Figures(certificates=lambda: {"webhooks": 5e9}))
    name = "clarion_certificate_expiry_timestamp_seconds"
    assert registry.get_sample_value(name, {"use": "webhooks"}) == 5e9


def test_a_candidate_that_has_seen_nothing_yet_says_so() -> None:
    nobody: Any = None
    seen = Leadership(nobody, ("ns", "lease"), "me", lambda leads: None, structlog.get_logger())
    figures = seen.figures()
    assert [state for state, holds in figures.states.items() if holds] == [LeaseState.UNSEEN]
    assert (figures.transitions, set(figures.failures.values())) == (0, {0})
