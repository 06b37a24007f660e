"""The stopwatch's arithmetic, on hand-made lists of moments."""

import pytest

from netnslab.measure import Answer, Heard, heard, outage_ms

STEP = 0.05
A, B = "02:00:00:00:00:0b", "02:00:00:00:00:0c"


def every(step: float, start: float, end: float) -> list[float]:
    """Moments from start to before end."""
    return [start + step * n for n in range(round((end - start) / step))]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (every(0.001, 10, 12), 0),
        (every(0.001, 10, 10.5) + every(0.001, 11.25, 12), 750),
        (every(0.001, 10, 10.5), 1499),
        (every(0.001, 11.5, 12), 1499),
        ([], 1999),
        # What was before and after the window does not shorten its gap.
        ([9.999, 12.001], 1999),
    ],
    ids=["whole", "middle", "never-back", "late-start", "nothing", "outside"],
)
def test_outage_is_the_longest_gap_less_the_interval(answers: list[float], expected: float) -> None:
    assert outage_ms(answers, 10, 12, 0.001) == pytest.approx(expected, abs=1.01)


def listen(answers: list[tuple[float, str]], start: float = 10, end: float = 12) -> Heard:
    """Questions every 50 ms from 9 to 13, these answers."""
    return heard(every(STEP, 9, 13), [Answer(*answer) for answer in answers], start, end, STEP)


def replies(mac: str, start: float, end: float, delay: float = 0.0005) -> list[tuple[float, str]]:
    """One answer to each question of [start, end)."""
    return [(at + delay, mac) for at in every(STEP, start, end)]


def test_a_steady_owner_is_not_silent() -> None:
    result = listen(replies(A, 9, 13))
    assert result == Heard(result.asked, result.asked - 1, 0, 0.0, 0.0, 0, [A])
    assert result.asked in (40, 41)


def test_jitter_within_one_interval_is_not_silence() -> None:
    jittery = [(at + (0.045 if n % 2 else 0.0), A) for n, at in enumerate(every(STEP, 9, 13))]
    assert listen(jittery).silent_ms == 0


def test_one_missed_question_is_late_but_no_silence() -> None:
    result = listen(replies(A, 9, 11) + replies(A, 11.05, 13))
    assert (result.late, result.silent_ms) == (1, 0.0)


def test_two_missed_questions_are_silence() -> None:
    result = listen(replies(A, 9, 11) + replies(A, 11.1, 13))
    assert result.silent_ms == pytest.approx(100, abs=1)
    assert result.late == 2


def test_silence_lasts_from_the_first_unanswered_question_to_the_next_answer() -> None:
    result = listen(replies(A, 9, 10.5) + replies(B, 11.5, 13))
    assert result.silent_ms == pytest.approx(1000, abs=1)
    assert (result.moves, result.macs, result.dual_answer_ms) == (1, [A, B], 0)


def test_silence_that_never_ends_lasts_until_the_window_closes() -> None:
    assert listen(replies(A, 9, 10.5)).silent_ms == pytest.approx(1500, abs=1)
    assert listen([]).silent_ms == pytest.approx(2000, abs=STEP * 1000)
    assert listen([]).macs == []


def test_dual_is_the_time_of_the_questions_with_two_macs() -> None:
    both = sorted(replies(A, 9, 11) + replies(B, 10.6, 13, delay=0.0007))
    result = listen(both)
    assert result.dual_answer_ms == pytest.approx(400, abs=1)
    assert result.moves == 1


def test_the_same_mac_twice_is_not_dual() -> None:
    twice = sorted(replies(A, 9, 13) + replies(A, 9, 13, delay=0.01))
    assert listen(twice).dual_answer_ms == 0


def test_there_and_back_is_two_moves() -> None:
    assert listen(replies(A, 9, 10.5) + replies(B, 10.5, 11) + replies(A, 11, 13)).moves == 2
