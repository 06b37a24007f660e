"""MetalLB's rules on lists of names and of label selectors, in its words. Pure.

What is wrong is found where `kube.selector` finds it for the speaker; this is how it is said.
"""

from collections.abc import Iterator, Sequence

from kube.problem import Finding
from kube.rules import go_text
from kube.selector import LabelSelector, Requirement, valid_key

_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def twice(texts: Sequence[str], field: str) -> Iterator[Finding]:
    """Refuse a text that a list has twice. Paths are relative to the list."""
    seen: set[str] = set()
    for index, text in enumerate(texts):
        if text in seen:
            yield (index,), f"duplicate definition of {field} {go_text.quote(text)}"
        seen.add(text)


def selectors_twice(selectors: Sequence[LabelSelector], field: str) -> Iterator[Finding]:
    """Refuse a selector that a list has twice, and what one of them has twice.

    Paths are relative to the list.
    """
    seen: set[object] = set()
    for index, selector in enumerate(selectors):
        for path, text in _expressions_twice(selector):
            yield (index, "matchExpressions", *path), text
        if (same := selector.canonical()) in seen:
            text = f"duplicate definition of {field} {go_text.quoted_selector(selector)}"
            yield (index,), text
        seen.add(same)


def _expressions_twice(selector: LabelSelector) -> Iterator[Finding]:
    seen: set[object] = set()
    for index, entry in enumerate(selector.match_expressions):
        for path, text in twice(entry.values, "match expression value in label selector"):
            yield (index, "values", *path), text
        same = entry.key, entry.operator, tuple(sorted(entry.values))
        if same in seen:
            text = f"duplicate definition of match expressions {go_text.quoted_expression(entry)}"
            yield (index,), text
        seen.add(same)


def unreadable(selector: LabelSelector) -> str | None:
    """Say why Kubernetes cannot read the selector, or return None."""
    for key in sorted(selector.match_labels):
        if not valid_key(key):
            return _bad_key(key)
    for entry in selector.match_expressions:
        if (text := _bad_expression(entry)) is not None:
            return text
    # Values have words of their own in Kubernetes, which nobody recorded.
    return next((message for _, message in selector.complaints()), None)


def _bad_expression(entry: Requirement) -> str | None:
    if entry.operator not in _OPERATORS:
        return f"{go_text.quote(entry.operator)} is not a valid label selector operator"
    return None if valid_key(entry.key) else _bad_key(entry.key)


def _bad_key(key: str) -> str:
    return f"key: Invalid value: {go_text.quote(key)}: {_KEY}"
