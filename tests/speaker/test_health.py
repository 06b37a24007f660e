"""What the probe for readiness is told."""

from speaker.health import Health


def test_what_is_waited_for_is_as_new_as_the_question() -> None:
    """The loop may rest while a thread learns that there is no API server."""
    health, trouble = Health(), "/api/v1/services: not listed yet"
    health.waiting_for = lambda: trouble
    health.not_ready = "sources are not read yet"
    assert health.unready() == f"sources are not read yet: {trouble}"
    trouble = "/api/v1/services: Cannot connect"
    assert health.unready() == f"sources are not read yet: {trouble}"
    health.not_ready = None
    assert health.unready() is None
