"""Manifest text: what is understood, and what each kind of bad text gives."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.document import ManifestError
from kube.files.manifest import MAX_BYTES, Most, read, read_json

LAUGHS = b"".join(
    b"a%d: &a%d [%s]\n"
    % (level, level, b",".join([b"*a%d" % (level - 1)] * 10 if level else [b"x"] * 10))
    for level in range(12)
)


def test_reads_documents_with_lines() -> None:
    text = b"""\
kind: Service
apiVersion: v1
metadata:
  name: web
  namespace: shop
spec:
  ports:
  - port: 80
---
# nothing
---
kind: Node
apiVersion: v1
metadata: {name: n1}
"""
    service, node = read(text, "a.yaml")
    assert (service.kind, service.namespace, service.name) == ("Service", "shop", "web")
    assert service.line(()) == 1
    assert service.line(("metadata", "namespace")) == 5
    assert service.line(("spec", "ports", 0, "port")) == 8
    assert service.line(("spec", "missing", 3)) == 6
    assert service.origin.object == "Service shop/web"
    assert node.line(("metadata", "name")) == 14


def test_reads_json_with_tabs() -> None:
    (node,) = read(
        b'{\n\t"kind": "Node",\n\t"metadata": {"name": "n1", "labels": null}\n}', "a.json"
    )
    assert node.data == {"kind": "Node", "metadata": {"name": "n1"}}
    assert node.line(("metadata", "name")) == 3


def test_unfolds_lists() -> None:
    text = b"""\
apiVersion: v1
kind: List
items:
- kind: Node
  metadata: {name: n1}
- kind: ServiceList
  items:
  - kind: Service
    metadata:
      name: web
"""
    node, service = read(text, "a.yaml")
    assert (node.kind, node.name, node.line(())) == ("Node", "n1", 4)
    assert (service.kind, service.name) == ("Service", "web")
    assert service.line(("metadata", "name")) == 10


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        (b"12:30", "12:30"),
        (b"2024-01-01", "2024-01-01"),
        (b"'true'", "true"),
        (b"!!str 5", "5"),
        (b"!python/object:os.system x", "x"),
        (b"true", True),
        (b"Off", False),
        (b"80", 80),
        (b"007", "007"),
        (b"1.5e3", 1500.0),
        (b"9" * 30, "9" * 30),
    ],
)
def test_resolves_scalars_as_kubernetes_does(text: bytes, value: object) -> None:
    (found,) = read(b"a: " + text, "a.yaml")
    assert found.data["a"] == value
    assert type(found.data["a"]) is type(value)


def test_merges_and_aliases() -> None:
    (found,) = read(b"base: &b {x: 1, y: 1}\nz: {<<: *b, y: 2}\nw: *b\n", "a.yaml")
    assert found.data["z"] == {"x": 1, "y": 2}
    assert found.data["w"] == {"x": 1, "y": 1}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"a: [1", 2, "did not find expected"),
        (b"a: 1\nb: 2\na: 3", 3, "duplicate key 'a'"),
        (b"a: &x [*x]", 1, "unknown anchor 'x'"),
        (b"a: *b", 1, "unknown anchor 'b'"),
        (b"ok: 1\nbad: \xff", 2, "not UTF-8"),
        (b"a: \x00", 0, "not well-formed"),
        (b"? [a]\n: 1", 1, "not text"),
        (b"- 1\n", 1, "not an object"),
        (b"[" * 100_000, 1, "nested deeper than 64"),
        (b"- " * 100_000, 1, "nested deeper than 64"),
        (b"x: {<<: 1}", 1, "takes a mapping"),
        (LAUGHS, 6, "more than 1000000 values"),
        (b"#" * (MAX_BYTES + 1), 0, "longer than"),
    ],
)
def test_refuses_with_file_and_line(text: bytes, line: int, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text, "bad.yaml")
    assert caught.value.problem.file == "bad.yaml"
    assert caught.value.problem.line == line
    assert message in caught.value.problem.message
    assert "\n" not in str(caught.value)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode())))
def test_any_bytes_give_documents_or_one_error(content: bytes) -> None:
    with suppress(ManifestError):
        assert all(isinstance(found.data, dict) for found in read(content, "x"))


OBJECT = b'{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "web", "uid": null}}'


def test_json_without_lines_is_the_same_object() -> None:
    (fast,), (slow,) = read_json(OBJECT, "a.json"), read(OBJECT, "a.json")
    assert (fast.data, fast.kind, fast.name) == (slow.data, slow.kind, slow.name)
    assert (fast.line(()), slow.line(())) == (0, 1)


def test_a_list_of_json_gives_its_items() -> None:
    content = b'{"kind": "List", "apiVersion": "v1", "items": [%s, %s]}' % (OBJECT, OBJECT)
    assert [found.name for found in read_json(content, "a.json")] == ["web", "web"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"1", b"\xff", b"[" * 100_000, b'{"a": "\\ud800"}x']
)
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestError):
        read_json(content, "a.json")


@pytest.mark.parametrize("reader", [read, read_json])
def test_a_reader_may_be_given_other_limits(reader: Any) -> None:
    assert reader(OBJECT, "a.json", most=Most(size=len(OBJECT)))
    with pytest.raises(ManifestError, match=f"longer than {len(OBJECT) - 1} bytes"):
        reader(OBJECT, "a.json", most=Most(size=len(OBJECT) - 1))
    with pytest.raises(ManifestError, match="more than 3 values"):
        read(OBJECT, "a.json", most=Most(nodes=3))
