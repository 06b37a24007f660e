"""Who gets a place and who has to go, in virtual time."""

from controller.webhooks.places import (
    LONGEST_BODY,
    LONGEST_HEAD,
    LONGEST_REQUEST,
    LONGEST_REST,
    MOST_BYTES,
    MOST_CONNECTIONS,
    Places,
    Refused,
)

HEAD = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"


def test_who_comes_to_full_places_gets_one_of_the_source_that_holds_the_most() -> None:
    places = Places()
    server, _ = places.take("api", 0.0)
    strangers = [places.take("stranger", 0.0)[0] for _ in range(MOST_CONNECTIONS - 1)]
    for number in range(50):
        assert places.take("stranger", 1.0)[1] == [strangers[number]]
    second, leaving = places.take("api", 1.0)
    assert leaving == [strangers[50]]
    assert len(places) == MOST_CONNECTIONS
    assert places.late(LONGEST_REQUEST)[0] is server
    assert second not in places.late(LONGEST_REQUEST)


def test_of_one_source_who_waits_for_nothing_goes_first() -> None:
    places = Places()
    found = [places.take("a", 0.0)[0] for _ in range(MOST_CONNECTIONS)]
    for each in found[:2]:
        places.handle_bytes(each, HEAD + b"{}", 0.0)
        places.handle_whole(each, 2)
    places.handle_answer(found[1], 0.0)
    left = [places.take("a", 0.0)[1][0] for _ in range(3)]
    assert left == found[2:5]


def test_a_whole_request_has_ten_seconds_however_it_drips_and_a_rest_longer_than_gos() -> None:
    places = Places()
    place, _ = places.take("a", 0.0)
    for number in range(9):
        assert places.handle_bytes(place, b"x", float(number)) is None
    assert places.deadline() == LONGEST_REQUEST
    other, _ = places.take("a", 0.0)
    assert places.handle_bytes(other, HEAD + b"{}", 9.0) is None
    assert places.handle_whole(other, 2)
    places.handle_answer(other, 9.5)
    assert places.late(10.0) == [place]
    assert places.late(9.0 + LONGEST_REST) == []
    assert places.handle_bytes(other, b"P", 50.0) is None
    assert places.late(60.0) == [other]


def test_long_heads_long_bodies_and_second_requests_are_refused() -> None:
    places = Places()
    for data, refused in (
        (b"x" * LONGEST_HEAD, None),
        (b"x" * (LONGEST_HEAD + 1), Refused.TOO_LONG),
        (HEAD + b"x" * LONGEST_BODY, None),
        (HEAD + b"x" * (LONGEST_BODY + LONGEST_HEAD), Refused.TOO_LONG),
    ):
        assert places.handle_bytes(places.take("a", 0.0)[0], data, 0.0) is refused
    place, _ = places.take("a", 0.0)
    # The end of a head may come in two pieces.
    for byte in HEAD:
        assert places.handle_bytes(place, bytes([byte]), 0.0) is None
    assert places.handle_bytes(place, b"{}more", 0.0) is None
    assert not places.handle_whole(place, 2)
    assert places.handle_bytes(place, b"P", 0.0) is Refused.PIPELINED


def test_bodies_together_are_bounded_and_the_greediest_source_pays() -> None:
    places = Places()
    server, _ = places.take("api", 0.0)
    places.handle_bytes(server, HEAD + b"x" * LONGEST_BODY, 0.0)
    for _ in range(MOST_BYTES // LONGEST_BODY + 3):
        stranger, _ = places.take("stranger", 0.0)
        places.handle_bytes(stranger, HEAD + b"x" * LONGEST_BODY, 0.0)
        assert server not in places.burdens()
    assert sum(each.received for each in places._places) <= MOST_BYTES
