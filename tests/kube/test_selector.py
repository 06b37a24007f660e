"""Label selectors against the API's rules."""

import msgspec
import pytest

from kube.selector import LabelSelector, Requirement, any_matches

LABELS = {"rack": "a", "zone": ""}


@pytest.mark.parametrize(
    ("operator", "key", "values", "expected"),
    [
        ("In", "rack", ("a", "b"), True),
        ("In", "rack", ("b",), False),
        ("In", "missing", ("",), False),
        ("NotIn", "rack", ("a",), False),
        ("NotIn", "rack", ("b",), True),
        ("NotIn", "missing", ("a",), True),
        ("Exists", "zone", (), True),
        ("Exists", "missing", (), False),
        ("DoesNotExist", "missing", (), True),
        ("DoesNotExist", "zone", (), False),
    ],
)
def test_operators(operator: str, key: str, values: tuple[str, ...], expected: bool) -> None:
    requirement = Requirement(key, operator, values)
    assert requirement.complaint() is None
    assert LabelSelector(match_expressions=(requirement,)).matches(LABELS) is expected


def test_all_parts_must_match_and_an_empty_selector_matches_everything() -> None:
    both = LabelSelector({"rack": "a"}, (Requirement("zone", "DoesNotExist"),))
    assert not both.matches(LABELS)
    assert both.matches({"rack": "a"})
    assert LabelSelector().matches({})
    assert not LabelSelector({"zone": ""}).matches({})


def test_any_of_a_list_and_an_empty_list_restricts_nothing() -> None:
    assert any_matches((), {})
    assert any_matches((LabelSelector({"rack": "b"}), LabelSelector({"rack": "a"})), LABELS)
    assert not any_matches((LabelSelector({"rack": "b"}),), LABELS)


@pytest.mark.parametrize(
    ("requirement", "where"),
    [
        (Requirement("rack", "Equals", ("a",)), ("operator",)),
        (Requirement("rack", "In"), ("values",)),
        (Requirement("rack", "Exists", ("a",)), ("values",)),
        (Requirement("rack", "In", ("a", "a")), ("values", 1)),
        (Requirement("rack", "In", ("not a value",)), ("values", 0)),
        (Requirement("-rack", "Exists"), ("key",)),
        (Requirement("UPPER/rack", "Exists"), ("key",)),
    ],
)
def test_complaints_name_the_field(requirement: Requirement, where: tuple[str | int, ...]) -> None:
    complaints = list(LabelSelector(match_expressions=(requirement,)).complaints())
    assert [path for path, _ in complaints] == [("matchExpressions", 0, *where)]


def test_canonical_ignores_order() -> None:
    one = LabelSelector({"a": "1", "b": "2"}, (Requirement("r", "In", ("x", "y")),))
    two = LabelSelector({"b": "2", "a": "1"}, (Requirement("r", "In", ("y", "x")),))
    assert one.canonical() == two.canonical()
    assert one.canonical() != LabelSelector({"a": "1"}).canonical()


def _selector(text: str) -> LabelSelector:
    return msgspec.json.decode(text, type=LabelSelector)


TEXTS = [
    ('{"matchLabels": {"a": "b", "c": ""}}', "a=b,c="),
    ('{"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}', "a in (x,y)"),
    ('{"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}', "a notin (x)"),
    ('{"matchExpressions": [{"key": "a", "operator": "Exists"}]}', "a"),
    ('{"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}', "!a"),
    ("{}", "everything"),
]


@pytest.mark.parametrize(("selector", "text"), TEXTS)
def test_a_selector_is_written_as_kubectl_takes_it(selector: str, text: str) -> None:
    assert _selector(selector).text() == text


def test_what_is_hostile_is_quoted_in_a_text() -> None:
    selector = _selector('{"matchLabels": {"a\\u001bb": "\\u001b[2J"}}')
    assert selector.text() == "'a\\x1bb'='\\x1b[2J'"
    assert (selector.unmet({}) or "").isprintable()


@pytest.mark.parametrize(("selector", "text"), TEXTS)
@pytest.mark.parametrize("labels", [{}, {"a": "b", "c": ""}, {"a": "x"}, {"a": "z"}])
def test_a_condition_is_not_met_where_the_selector_does_not_match(
    selector: str, text: str, labels: dict[str, str]
) -> None:
    found = _selector(selector)
    why = found.unmet(labels)
    assert (why is None) is found.matches(labels)
    if why is not None:
        have = f"the label is a={labels['a']}" if "a" in labels else "there is no label a"
        assert why.endswith(f" is wanted, {have}")
