"""What a speaker's page of metrics says that its node announces. Pure."""

from prometheus_client.parser import text_string_to_metric_families

from clarion.drain.duties import Duty, DutyProtocol

SERIES = "metallb_speaker_announced{"


def announced(page: str, node: str) -> frozenset[Duty]:
    """Return it; of a line that is none, nothing."""
    found: set[Duty] = set()
    for line in page.splitlines():
        if not line.startswith(SERIES):
            continue
        for labels, value in _samples(line):
            protocol = labels.get("protocol", "")
            if value == 1 and labels.get("node") == node and protocol in tuple(DutyProtocol):
                found.add(Duty(labels.get("service", ""), DutyProtocol(protocol)))
    return frozenset(found)


def _samples(line: str) -> list[tuple[dict[str, str], float]]:
    try:
        families = list(text_string_to_metric_families(line + "\n"))
    except (ValueError, IndexError, KeyError):
        return []
    return [(dict(each.labels), each.value) for family in families for each in family.samples]
