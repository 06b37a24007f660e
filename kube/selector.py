"""Label selectors with the meaning that Kubernetes gives them (metav1.LabelSelector)."""

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kube.problem import Path, quoted

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
EVERYTHING = "everything"
_TAKES_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


class Requirement(msgspec.Struct, frozen=True, rename="camel"):
    """One expression: the label `key` stands in relation `operator` to `values`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell if the labels fulfil it; a missing key fulfils NotIn and DoesNotExist."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels

    def text(self) -> str:
        """Write it as `kubectl get --selector` takes it."""
        some = ",".join(shown_label(value) for value in self.values)
        match self.operator:
            case "In":
                return f"{shown_label(self.key)} in ({some})"
            case "NotIn":
                return f"{shown_label(self.key)} notin ({some})"
            case "Exists":
                return shown_label(self.key)
            case _:
                return f"!{shown_label(self.key)}"

    def complaint(self) -> tuple[Path, str] | None:
        """Say what is wrong with it, relative to the expression, or None."""
        if not valid_key(self.key):
            return ("key",), f"{quoted(self.key)} is not a label key"
        if self.operator not in _TAKES_VALUES:
            return (
                "operator",
            ), f"{quoted(self.operator)} is not one of {', '.join(_TAKES_VALUES)}"
        if bool(self.values) != _TAKES_VALUES[self.operator]:
            need = "needs values" if not self.values else "takes no values"
            return ("values",), f"operator {self.operator} {need}"
        seen: set[str] = set()
        for index, value in enumerate(self.values):
            if not valid_value(value):
                return ("values", index), f"{quoted(value)} is not a label value"
            if value in seen:
                return ("values", index), f"{quoted(value)} is listed twice"
            seen.add(value)
        return None


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    """All of its labels and expressions must match; one without any matches everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell if an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )

    def text(self) -> str:
        """Write it as `kubectl get --selector` takes it; `everything` where it has no condition."""
        labels = (f"{shown_label(k)}={shown_label(v)}" for k, v in self.match_labels.items())
        return (
            ",".join((*labels, *(found.text() for found in self.match_expressions))) or EVERYTHING
        )

    def unmet(self, labels: Mapping[str, str]) -> str | None:
        """Say which condition the labels do not fulfil, the first one, and what they have instead.

        None where the selector matches.
        """
        for key, value in self.match_labels.items():
            if labels.get(key) != value:
                return f"{shown_label(key)}={shown_label(value)} is wanted, {_instead(key, labels)}"
        for found in self.match_expressions:
            if not found.matches(labels):
                return f"{found.text()} is wanted, {_instead(found.key, labels)}"
        return None

    def complaints(self) -> Iterator[tuple[Path, str]]:
        """Return what the API server or MetalLB would refuse, relative to the selector."""
        for key, value in self.match_labels.items():
            if not valid_key(key):
                yield ("matchLabels", key), f"{quoted(key)} is not a label key"
            elif not valid_value(value):
                yield ("matchLabels", key), f"{quoted(value)} is not a label value"
        seen: set[object] = set()
        for index, requirement in enumerate(self.match_expressions):
            path: Path = ("matchExpressions", index)
            if (complaint := requirement.complaint()) is not None:
                yield (*path, *complaint[0]), complaint[1]
            if (same := _canonical(requirement)) in seen:
                yield path, "the same expression is listed twice"
            seen.add(same)

    def canonical(self) -> object:
        """Return a hashable value that is equal for selectors that read the same once sorted."""
        expressions = sorted(_canonical(requirement) for requirement in self.match_expressions)
        return tuple(sorted(self.match_labels.items())), tuple(expressions)


def any_matches(selectors: Sequence[LabelSelector], labels: Mapping[str, str]) -> bool:
    """Tell if at least one selector matches; an empty list of selectors restricts nothing."""
    return not selectors or any(selector.matches(labels) for selector in selectors)


def shown_label(text: str) -> str:
    """Return a key or value for a message: as it is if it may be one, else quoted and cut."""
    return text if valid_key(text) or valid_value(text) else quoted(text)


def _instead(key: str, labels: Mapping[str, str]) -> str:
    if key not in labels:
        return f"there is no label {shown_label(key)}"
    return f"the label is {shown_label(key)}={shown_label(labels[key])}"


def valid_key(key: str) -> bool:
    """Tell if the text is a label key: an optional DNS prefix and `/`, then a name."""
    prefix, slash, name = key.rpartition("/")
    return _NAME.fullmatch(name) is not None and (
        not slash or _PREFIX.fullmatch(prefix) is not None
    )


def valid_value(value: str) -> bool:
    """Tell if the text is a label value: empty, or shaped as a name."""
    return not value or _NAME.fullmatch(value) is not None


def _canonical(requirement: Requirement) -> tuple[str, str, tuple[str, ...]]:
    return requirement.key, requirement.operator, tuple(sorted(requirement.values))
