import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.door.vty import LONGEST_COMMAND, AnswerDecoder, VtyAnswer, VtyError, encode


def test_a_command_ends_with_a_nul() -> None:
    assert encode("show version") == b"show version\0"


@pytest.mark.parametrize(
    "command", ["", "a\nb", "a\0b", "a\rb", "\x7f", "\ud800", "x" * (LONGEST_COMMAND + 1)]
)
def test_what_is_more_than_a_line_is_not_sent(command: str) -> None:
    with pytest.raises(VtyError):
        encode(command)


@given(
    st.lists(
        st.tuples(st.binary(max_size=40).filter(lambda text: 0 not in text), st.integers(0, 255))
    ),
    st.integers(1, 9),
)
def test_answers_come_out_however_they_are_cut(said: list[tuple[bytes, int]], step: int) -> None:
    stream = b"".join(text + b"\0\0\0" + bytes([status]) for text, status in said)
    decoder = AnswerDecoder()
    got: list[VtyAnswer] = []
    for start in range(0, len(stream), step):
        got += decoder.feed(stream[start : start + step])
    assert [(each.status, each.text) for each in got] == [
        (status, text.decode("utf-8", "replace")) for text, status in said
    ]
    decoder.handle_end()


def test_an_answer_has_a_limit() -> None:
    decoder = AnswerDecoder(most=10)
    assert decoder.feed(b"0123456789\0\0\0\0") == [VtyAnswer(0, "0123456789")]
    with pytest.raises(VtyError):
        decoder.feed(b"0123456789a")
    with pytest.raises(VtyError):
        decoder.feed(b"\0\0\0\0")


def test_a_nul_in_a_text_and_an_end_within_an_answer_are_errors() -> None:
    with pytest.raises(VtyError):
        AnswerDecoder().feed(b"a\0b\0\0\0\0")
    cut = AnswerDecoder()
    cut.feed(b"a\0\0\0")
    with pytest.raises(VtyError):
        cut.handle_end()


def test_an_answer_does_not_show_its_text() -> None:
    assert "sesame" not in repr(VtyAnswer(0, "neighbor 192.0.2.1 password sesame"))
    assert VtyAnswer(0, "").ok
    assert not VtyAnswer(2, "").ok
