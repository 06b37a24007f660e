"""What the page shows of a speaker's words."""

from xml.etree import ElementTree

from process.told.rows import LiveMember, LiveOwner, LivePool, LiveRecord, LiveTakeover
from speaker.page.view import SpeakerView, page, silence

TOOK = LiveTakeover("bars", "b", 1.0, 0.04)


def member(name: str, state: str, verdicts: list[str]) -> LiveMember:
    return LiveMember(
        name, "192.0.2.7:7946", state, 1, None, "clarion", [], "proved", "answers", verdicts, ["c"]
    )


def owner(number: int, name: str | None, state: str) -> LiveOwner:
    ip = f"198.51.100.{number}"
    return LiveOwner(ip, f"ns/s{number}", name, 1.0, "b", ["eth0"], state, None, TOOK)


def view(unready: str | None = None) -> SpeakerView:
    return SpeakerView(
        "a",
        "0.1.0",
        0.0,
        unready,
        [member("a", "alive", []), member("b", "dead", ["eth0"])],
        [owner(1, "a", "owned"), owner(2, None, "routed"), owner(3, "a", "contested")],
        [LivePool("first", 4, 3)],
        [LiveRecord(1, 0.0, "quiet", ips=["198.51.100.1"]), LiveRecord(2, 1.0, "left")],
    )


def sections(made: bytes) -> dict[str, str]:
    """Return the text of each section; what is written is well-formed but for its void elements."""
    text = made.decode().partition("<main>")[2].partition("</main>")[0]
    root = ElementTree.fromstring(f"<main>{text}</main>")
    return {part.get("id", ""): " ".join(part.itertext()) for part in root.iter("section")}


def test_each_part_shows_what_it_is_for() -> None:
    parts = sections(page(view()))
    assert list(parts) == ["conflicts", "ring", "ips", "pools", "decisions"]
    assert "198.51.100.3" in parts["conflicts"]
    assert "198.51.100.1" not in parts["conflicts"]
    assert "dead clarion" in parts["ring"]
    assert "198.51.100.2 ns/s2 (BGP) routed" in parts["ips"]
    assert "from b (bars, 0.040 s)" in parts["ips"]
    assert "first 3 of 4  75%" in parts["pools"]
    newest, oldest = (parts["decisions"].index(text) for text in ("00:00:01", "00:00:00"))
    assert newest < oldest


def test_the_first_lines_count_and_say_what_is_wrong() -> None:
    text = page(view("no contact with another speaker yet")).decode()
    assert "1 of 2 members live; 3 IPs, 2 of them here, 1 not as they should be." in text
    assert "Not ready: no contact with another speaker yet" in text
    assert "could not" in silence("a", "could not be asked").decode()
