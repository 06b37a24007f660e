"""The routed network's arithmetic on hand-made changes; its table; the lines for FRR and BIRD."""

import pytest

from netnslab.course.scenario_table import LabTableError
from netnslab.errors import LabError
from netnslab.instruments.routed.routes import RouteLog
from netnslab.routed import absences, plan, sessions
from netnslab.routed.absences import Absence, State
from netnslab.routed.scenarios import STAGED_ROUTED
from netnslab.routed.table import ROUTED, read
from netnslab.routed.verdict import RoutedRow, judge_routed, judge_runs

A, B = "10.100.0.1/32", "10.100.0.2/32"
BOTH = {"node-1", "node-2"}


def test_an_absence_lasts_from_the_change_without_a_node_to_the_change_with_it() -> None:
    changes: list[State] = [
        (1.0, A, {"node-2"}),
        (1.5, B, {"node-2"}),
        (2.0, A, set()),
        (3.0, A, BOTH),
        (9.0, "10.0.0.0/8", set()),
    ]
    seen = absences.absences(changes, sorted(BOTH), [A, B])
    assert seen == [
        Absence("node-1", A, 1.0, 3.0),
        Absence("node-1", B, 1.5, None),
        Absence("node-2", A, 2.0, 3.0),
    ]
    assert absences.gone_at(seen, "node-1", [A, B]) == 1.5
    assert absences.gone_at(seen, "node-2", [A, B]) is None
    assert absences.back_at(seen, 0.0) is None
    assert absences.back_at(seen[::2], 0.0) == 3.0
    assert absences.back_at([], 7.0) == 7.0


def test_latency_is_until_the_first_state_that_was_asked_for() -> None:
    changes: list[State] = [(1.0, A, {"node-1"}), (2.0, A, BOTH), (3.0, A, {"node-1"})]
    assert absences.latency(changes, 1.5, "node-2", A, announced=True) == 0.5
    assert absences.latency(changes, 2.5, "node-2", A, announced=False) == 0.5
    assert absences.latency(changes, 3.5, "node-2", A, announced=True) is None


def test_a_route_log_keeps_states_and_adds_what_is_appended() -> None:
    log = RouteLog([A])
    log.note(1.0, A, ["b"], further=False)
    log.note(1.1, A, ["a"], further=True)
    log.note(1.2, A, ["a", "b"], further=False)
    log.note(1.3, "10.0.0.0/8", ["a"], further=False)
    log.note(2.0, A, [], further=False)
    assert log.since({"start": 1.1})["changes"] == [(1.1, A, ["a", "b"]), (2.0, A, [])]
    assert log.state({}) == {"now": {A: []}, "last": 2.0}


def test_a_link_makes_its_address_of_its_mac() -> None:
    assert plan.link_local("02:00:00:00:02:01") == "fe80::ff:fe00:201"


# ---- the table


def test_every_scenario_is_played_and_bounded() -> None:
    assert set(ROUTED) == set(STAGED_ROUTED)
    for name, entry in ROUTED.items():
        bounds = (entry.gone, entry.back, entry.margin, entry.latency, entry.lost)
        assert any(bound not in (None, {}) for bound in bounds), name
        assert set(entry.gone) <= set(entry.detections), name


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[x]\nwhat = 'y'\nnodes = 3", "detections"),
        ("[x]\nwhat = 'y'\nnodes = 1\ndetections = ['nothing']", "nodes"),
        ("[x]\nwhat = 'y'\nnodes = 3\ndetections = ['hope']", "detections"),
        ("[x]\nwhat = 'y'\nnodes = 3\ndetections = ['hold-3']\ngone.hold-3 = [3, 2]", "gone"),
        ("[x]\nwhat = 'y'\nnodes = 3\ndetections = ['hold-3']\nback = -1", "back"),
        ("[x]\nwhat = 'y'\nnodes = 3\ndetections = ['hold-3']\nbackwards = 1", "backwards"),
        ("x = 1", "x"),
        ("[", "bgp.toml"),
    ],
)
def test_a_table_that_cannot_be_used_names_the_field(text: str, field: str) -> None:
    with pytest.raises(LabTableError, match=field):
        read(text)


# ---- the verdict

POWER_OFF = ROUTED["bgp-power-off"]
STOP = ROUTED["bgp-stop"]
GOOD = RoutedRow(1, "node-1", gone_ms=900.0, sent=5000, lost=300, last_loss_ms=901.0)


def test_what_is_within_the_bounds_fails_nothing() -> None:
    assert judge_routed(GOOD, POWER_OFF, "bfd-300x3") == []
    assert judge_runs([GOOD], POWER_OFF, "bfd-300x3") == []
    stopped = RoutedRow(1, "node-1", margin_ms=380.0)
    assert judge_routed(stopped, STOP, "nothing") == []


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (RoutedRow(1, "node-1"), "gone_ms never"),
        (RoutedRow(1, "node-1", gone_ms=1300.0), "gone_ms 1300.0"),
        (RoutedRow(1, "node-1", gone_ms=900.0, last_loss_ms=1400.0), "last_loss_ms"),
        (RoutedRow(1, "node-1", gone_ms=900.0, strays=1), "strays 1"),
        (RoutedRow(1, "node-1", gone_ms=900.0, resets=1), "resets 1"),
        (RoutedRow(1, "node-1", gone_ms=900.0, others_lost=1), "others_lost 1"),
        (RoutedRow(1, "node-1", gone_ms=900.0, silent_flows=2), "silent_flows 2"),
    ],
)
def test_what_is_beyond_a_bound_is_named(row: RoutedRow, word: str) -> None:
    (failure,) = judge_routed(row, POWER_OFF, "bfd-300x3")
    assert word in failure


def test_a_med_step_may_send_all_by_one_way_for_a_moment() -> None:
    row = RoutedRow(1, "node-1", gone_ms=500.0, strays=2)
    assert judge_routed(row, POWER_OFF, "med-step") == []


def test_a_stop_that_leaves_too_late_or_loses_fails() -> None:
    late = judge_routed(RoutedRow(1, "node-1", margin_ms=100.0, lost=1), STOP, "nothing")
    assert [word for word in ("margin_ms 100.0", "lost 1") if word in "".join(late)] != []
    assert len(late) == 2
    assert len(judge_routed(RoutedRow(1, "node-1"), STOP, "nothing")) == 1


def test_the_median_has_a_bound_of_its_own() -> None:
    rows = [RoutedRow(n, "node-1", gone_ms=1100.0) for n in range(3)]
    assert judge_routed(rows[0], POWER_OFF, "bfd-300x3") == []
    assert "median 1100.0" in judge_runs(rows, POWER_OFF, "bfd-300x3")[0]


# ---- the lines


def test_a_node_has_bfd_only_when_it_is_watched() -> None:
    given = sessions.agreement("bfd-50x3", "ebgp", "4")
    lines = sessions.lines_of_node(given, "10.88.0.11", ["10.88.0.1"])
    assert not [line for line in lines if "bfd" in line]
    assert sessions.lines_of_watch(given, "10.88.0.1")[0] == "neighbor 10.88.0.1 bfd"
    assert "transmit-interval 50" in given.lines_of_bfd


def test_two_families_have_two_sessions_but_without_addresses_one() -> None:
    dual = sessions.agreement("hold-3", "ebgp", "dual")
    lines = sessions.lines_of_router(dual, "10.88.0.1", ["10.88.0.11", "2001:db8:88::b"])
    assert lines.count("neighbor 10.88.0.11 activate") == 1
    assert lines.count("neighbor 2001:db8:88::b activate") == 1
    without = sessions.agreement("hold-3", "unnumbered", "dual")
    lines = sessions.lines_of_router(without, "10.88.0.1", ["to-node-1"])
    assert lines.count("neighbor to-node-1 activate") == 2
    assert "neighbor to-node-1 interface remote-as 64512" in lines


def test_bird_is_told_of_passwords_and_bfd_and_has_no_sessions_without_address() -> None:
    given = sessions.agreement("bfd-300x3", "ibgp-md5", "4")
    text = sessions.text_of_bird(given, "10.88.0.1", {"node-1-v4": "10.88.0.11"})
    assert "neighbor 10.88.0.11 as 64501;" in text
    assert 'password "' in text
    assert "min rx interval 300 ms" in text
    with pytest.raises(LabError, match="without an address"):
        sessions.text_of_bird(sessions.agreement("hold-3", "unnumbered", "4"), "10.88.0.1", {})
