"""Every cell of the engine's table, and the waits between two tries."""

from itertools import islice

import pytest

from bgp.door.engine_states import LONGEST_DELAY, TABLE, EngineEvent, EngineState, delays

CELLS = [(state, event) for state in EngineState for event in EngineEvent]
LEADS_TO = {
    EngineEvent.GONE: "absent",
    EngineEvent.LATE: "hung",
    EngineEvent.GARBLED: "hung",
    EngineEvent.ANSWERED: "ready",
    EngineEvent.CLOSE: "closed",
    EngineEvent.ACCEPTED: "connecting",
}


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_each_event_leads_to_one_state_but_for_two(state: EngineState, event: EngineEvent) -> None:
    """A taken connection proves nothing of one that hangs, and what is closed stays so."""
    if state is EngineState.CLOSED:
        assert TABLE[state][event] == "closed"
    elif (state, event) == (EngineState.HUNG, EngineEvent.ACCEPTED):
        assert TABLE[state][event] == "hung"
    else:
        assert TABLE[state][event] == LEADS_TO[event]


def test_tries_grow_rarer_up_to_one_a_second() -> None:
    assert list(islice(delays(), 6)) == [0.1, 0.2, 0.4, 0.8, LONGEST_DELAY, LONGEST_DELAY]
