"""What a page of metrics tells of a speaker's version and settings. Pure."""

from prometheus_client.parser import text_string_to_metric_families

from clarion.doctor.agreement import SpeakerFacts
from clarion.doctor.finding import plain

BUILD, SETTING = "clarion_build_info", "clarion_setting_info"
MOST_LINES = 200
"""Of the two families; a page may be anybody's."""


def told(node: str, page: str) -> SpeakerFacts:
    """Return it; of a line that is none, nothing."""
    lines = [line for line in page.splitlines() if line.startswith((BUILD + "{", SETTING + "{"))]
    version, settings = "", dict[str, str]()
    for line in lines[:MOST_LINES]:
        for labels in _labels(line):
            if "version" in labels:
                version = plain(labels["version"])
            elif "setting" in labels:
                settings[plain(labels["setting"])] = plain(labels.get("value", ""))
    return SpeakerFacts(node, version, settings)


def _labels(line: str) -> list[dict[str, str]]:
    try:
        families = list(text_string_to_metric_families(line + "\n"))
    except (ValueError, IndexError, KeyError):
        return []
    return [dict(sample.labels) for family in families for sample in family.samples]
