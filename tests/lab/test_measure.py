"""The stopwatch's arithmetic, on hand-made lists of moments."""

import pytest

from netnslab.results.measure import Heard, Questions, TimedAnswer, busiest, evaluate, outage_ms

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


ASKED = every(STEP, 9, 13)
# Of them, those that the window from 10 to 12 holds.
WITHIN = sum(10 <= at <= 12 for at in ASKED)


def listen(answers: list[TimedAnswer], start: float = 10, end: float = 12) -> Heard:
    """Questions every 50 ms from 9 to 13, these answers."""
    return evaluate(ASKED, answers, start, end, STEP)


def replies(mac: str, start: float, end: float, delay: float = 0.0005) -> list[TimedAnswer]:
    """One answer to each question of [start, end)."""
    return [
        TimedAnswer(at + delay, mac, at) for at in ASKED if start - STEP / 2 < at < end - STEP / 2
    ]


def test_a_steady_owner_is_not_silent() -> None:
    result = listen(replies(A, 9, 13))
    assert result.answer_ms == pytest.approx(0.5)
    assert result == Heard(WITHIN, WITHIN, 0, result.answer_ms, result.answer_ms, 0.0, 0.0, 0, [A])


def test_jitter_within_one_interval_is_not_silence() -> None:
    jittery = [TimedAnswer(at + (0.045 if n % 2 else 0.0), A, at) for n, at in enumerate(ASKED)]
    assert (listen(jittery).silent_ms, listen(jittery).late) == (0, 0)


def test_one_missed_question_is_late_but_no_silence() -> None:
    result = listen(replies(A, 9, 11) + replies(A, 11.05, 13))
    assert (result.late, result.silent_ms, result.answered) == (1, 0.0, WITHIN - 1)


def test_two_missed_questions_are_silence_and_not_late_besides() -> None:
    result = listen(replies(A, 9, 11) + replies(A, 11.1, 13))
    assert result.silent_ms == pytest.approx(100, abs=1)
    assert result.late == 0


def test_whoever_answers_every_second_question_is_late_with_half_of_them() -> None:
    result = listen(replies(A, 9, 13)[::2])
    assert result.silent_ms == 0
    assert result.late == pytest.approx(WITHIN / 2, abs=1)


@pytest.mark.parametrize(("delay", "silent"), [(0.09, 0), (0.2, 200)])
def test_an_answer_belongs_to_its_own_question(delay: float, silent: float) -> None:
    result = listen(replies(A, 9, 13, delay))
    assert result.answer_ms == pytest.approx(1000 * delay)
    assert result.silent_ms == pytest.approx(silent, abs=1)
    assert result.late >= WITHIN - 6
    assert result.answered == WITHIN


def test_the_answer_time_leaves_out_what_was_asked_in_the_silence() -> None:
    """As of a process that stood still for most of the window, and then answered all at once."""
    thawed = [TimedAnswer(11.5, A, at) for at in ASKED if 10.1 < at < 11.5]
    result = listen(replies(A, 9, 10.15) + thawed + replies(A, 11.5, 13))
    assert result.silent_ms == pytest.approx(1350, abs=1)
    assert result.answer_ms == pytest.approx(0.5)
    assert (result.late, result.answered) == (0, WITHIN)


def test_two_of_a_hundred_late_answers_make_the_99th_percentile() -> None:
    asked = [10 + STEP * number for number in range(100)]
    answers = [TimedAnswer(at + (0.04 if at in asked[50:52] else 0.001), A, at) for at in asked]

    def p99(some: list[TimedAnswer]) -> float:
        return evaluate(asked, some, 10, 20, STEP).answer_p99_ms

    assert p99(answers) == pytest.approx(40)
    assert p99([*answers[:50], TimedAnswer(asked[50] + 0.001, A, asked[50]), *answers[51:]]) < 2
    unanswered = answers[:30] + answers[31:60] + answers[61:]
    assert p99(unanswered) > 1000


def test_nobody_is_late_with_what_was_asked_just_now() -> None:
    result = listen(replies(A, 9, 11.95), end=11.99)
    assert (result.late, result.silent_ms) == (0, 0)


def test_silence_lasts_from_the_first_unanswered_question_to_the_next_answer() -> None:
    result = listen(replies(A, 9, 10.5) + replies(B, 11.5, 13))
    assert result.silent_ms == pytest.approx(1000, abs=1)
    assert (result.moves, result.macs, result.dual_answer_ms) == (1, [A, B], 0)


def test_silence_that_never_ends_lasts_until_the_window_closes() -> None:
    assert listen(replies(A, 9, 10.5)).silent_ms == pytest.approx(1500, abs=1)
    assert listen([]).silent_ms == pytest.approx(2000, abs=STEP * 1000)
    assert listen([]).macs == []


def test_dual_is_the_time_of_the_questions_with_two_macs() -> None:
    both = replies(B, 10.6, 13, delay=0.0007) + replies(A, 9, 11)
    result = listen(both)
    assert result.dual_answer_ms == pytest.approx(400, abs=1)
    assert result.moves == 1


def test_the_same_mac_twice_is_not_dual() -> None:
    twice = replies(A, 9, 13) + replies(A, 9, 13, delay=0.01)
    assert listen(twice).dual_answer_ms == 0


def test_there_and_back_is_two_moves() -> None:
    assert listen(replies(A, 9, 10.5) + replies(B, 10.5, 11) + replies(A, 11, 13)).moves == 2


def test_a_late_second_answer_makes_its_own_question_dual() -> None:
    late = [TimedAnswer(11.0, B, at) for at in ASKED if 10.4 < at < 10.58]
    assert listen(replies(A, 9, 13) + late).dual_answer_ms == pytest.approx(150, abs=1)


def test_a_question_is_known_by_its_identity() -> None:
    questions = Questions(4)
    assert [questions.ask(at) for at in range(10, 16)] == [0, 1, 2, 3, 0, 1]
    assert [questions.time_of(identity, 15.5) for identity in range(4)] == [14, 15, 12, 13]
    # An answer cannot come before its question.
    assert [questions.time_of(identity, 13.5) for identity in range(4)] == [10, 11, 12, 13]
    questions.forget(before=13)
    assert questions.moments == [13, 14, 15]
    assert [questions.time_of(identity, 15.5) for identity in range(4)] == [14, 15, None, 13]
    assert questions.ask(16) == 2
    assert Questions(4).time_of(0, 10.0) is None


@pytest.mark.parametrize(
    ("moments", "most"),
    [([], 0), ([5.0], 1), ([0.0, 0.5, 0.9, 1.0, 1.1], 4), ([0.0, 1.0, 2.0], 1)],
)
def test_the_busiest_second(moments: list[float], most: int) -> None:
    assert busiest(moments) == most
