"""Label selectors against the API's rules."""

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
