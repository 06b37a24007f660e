"""The head of a request: what is read, what is refused, and where it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from process.http_request import (
    LONGEST_HEAD,
    HttpError,
    HttpRefusal,
    HttpRequest,
    Page,
    head,
    read,
    refusal,
)

KUBELET = (
    b"GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:7472\r\nUser-Agent: kube-probe/1.30\r\n"
    b"Accept: */*\r\nConnection: close\r\n\r\n"
)
PROMETHEUS = (
    b"GET /metrics HTTP/1.1\r\nHost: 10.0.0.1:7472\r\nUser-Agent: Prometheus/2.53.0\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2\r\n"
    b"Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
)


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (KUBELET, HttpRequest("/healthz", False)),
        (PROMETHEUS, HttpRequest("/metrics", False)),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", HttpRequest("/metrics", True)),
        (b"GET /metrics?module=a HTTP/1.0\r\n\r\n", HttpRequest("/metrics", False)),
        (b"GET http://node:7472/readyz?x HTTP/1.1\r\n\r\n", HttpRequest("/readyz", False)),
        (b"GET HTTP://node HTTP/1.1\r\n\r\n", HttpRequest("/", False)),
        (b"GET /healthz HTTP/1.1\n\n", HttpRequest("/healthz", False)),
        (b"GET /healthz HTTP/1.1\r\nA: b\n\r\nbody", HttpRequest("/healthz", False)),
    ],
)
def test_what_is_read(data: bytes, request_: HttpRequest) -> None:
    assert read(data) == request_


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", HttpRefusal.METHOD),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpRefusal.VERSION),
        (b"GET /metrics\r\n\r\n", HttpRefusal.MALFORMED),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", HttpRefusal.MALFORMED),
        (b"GET /\xff HTTP/1.1\r\n\r\n", HttpRefusal.MALFORMED),
        (b"GET /a\rb HTTP/1.1\r\n\r\n", HttpRefusal.MALFORMED),
        (b"\r\n\r\n", HttpRefusal.MALFORMED),
        (b"G" * (LONGEST_HEAD + 1), HttpRefusal.TOO_LONG),
        (b"GET / HTTP/1.1\r\n" + b"a" * LONGEST_HEAD + b"\r\n\r\n", HttpRefusal.TOO_LONG),
    ],
)
def test_what_is_refused(data: bytes, reason: HttpRefusal) -> None:
    with pytest.raises(HttpError) as refused:
        read(data)
    assert refused.value.reason is reason


def test_a_head_may_be_as_long_as_the_limit_and_no_byte_longer() -> None:
    start, end = b"GET / HTTP/1.1\r\nA: ", b"\r\n\r\n"
    fits = start + b"a" * (LONGEST_HEAD - len(start + end)) + end
    assert read(fits) == HttpRequest("/", False)
    with pytest.raises(HttpError):
        read(b"GET /a" + fits.removeprefix(b"GET /"))


@given(st.sampled_from((KUBELET, PROMETHEUS, b"HEAD /x HTTP/1.1\n\n")), st.data())
def test_pieces_are_judged_as_the_whole(whole: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    looked_at = 0
    for cut in cuts:
        assert read(whole[:cut], looked_at) is None
        looked_at = cut
    assert read(whole, looked_at) == read(whole)


@pytest.mark.parametrize("reason", [HttpRefusal.TOO_LONG, HttpRefusal.METHOD])
def test_a_refusal_has_an_answer_of_its_length(reason: HttpRefusal) -> None:
    page = refusal(reason)
    lines = head(page, "now").decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {page.status.value} ")
    assert f"Content-Length: {len(page.body)}" in lines
    assert ("Allow: GET, HEAD" in lines) == (reason is HttpRefusal.METHOD)
    assert isinstance(page, Page)
