"""List, then watch: one kind of object kept equal to the API server's. Pure.

The driver asks `next_request`, does it, and reports what came: pages, events, an end or a failure.
Every input returns the keys that changed. What a list does not hold any more is gone, what it holds
unchanged is no change, so a relist (after 410 Gone, RFC 9110 section 15.5.11) loses and doubles
nothing. Until the last page of a list is there, the objects stay as they were.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from kube.api.backoff import FIRST_DELAY, delay_after
from kube.document import ManifestError
from kube.objects.reading import NOT_JSON, View, decode
from kube.problem import Problem, fault

if TYPE_CHECKING:
    from random import Random

PAGE = 100
"""Objects in a page: decoding one takes about a millisecond."""
MAX_LISTED = 100_000
"""Objects asked for in one list: 1,000 pages, four times what the largest clusters have."""
SHORT_PAGE = 10
"""A page of fewer objects that promises more is followed by a pause."""
MAX_SHORT_PAGES = 20
"""Such pages in one list. An API server fills its pages: one that does not may never end."""
WATCH_TIMES = (300.0, 600.0)
"""Seconds after which the server is asked to end a watch, by chance: not all end at once."""
SHORT_WATCH = 1.0
"""A watch that ended sooner counts as a failure, in seconds: whatever it brought, the next one may
be as short, and there is no end to asking.
"""
MAX_REASON = 200
"""Characters of a reason: it goes to a log."""

Key = tuple[str, str]
"""Namespace and name."""
Keep = Callable[[View], View | None]


class Failure(StrEnum):
    """Why a list or watch did not go on."""

    GONE = "gone"
    """The resource version is too old: list again."""
    UNAVAILABLE = "unavailable"
    """No connection, no answer, or a server error."""
    REFUSED = "refused"
    """We may not, or the kind is not served (403, 404)."""
    MALFORMED = "malformed"
    """Not JSON, or not what the API promises."""
    TOO_LONG = "too long"
    """More than we hold: a page is asked for again in smaller ones, an event as a page."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What to watch: the object kind, the path of its collection, and a selection."""

    kind: str
    path: str
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask now, after `delay` seconds."""

    delay: float
    watch: bool
    query: Mapping[str, str]


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    token: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    code: int = 0
    """Of a Status, which is what an ERROR event carries."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


@dataclass(slots=True)
class _Listing:
    """A list that has not brought its last page."""

    token: str = ""
    version: str = ""
    asked: int = 0
    """How many objects its pages could have brought."""
    short: int = 0
    """Pages that brought few and promised more."""
    pause: float = 0.0
    """Seconds before the next page."""
    objects: dict[Key, View] = field(default_factory=dict)
    problems: dict[Key, tuple[Problem, ...]] = field(default_factory=dict)


class Reflector:
    """The state of one resource. `objects` and `problems` are live and not to be changed."""

    def __init__(self, resource: Resource, rng: "Random", keep: Keep | None = None) -> None:
        """`keep` prunes a view before it is kept; it gives None for one that is not wanted."""
        self.resource = resource
        self.objects: dict[Key, View] = {}
        self.problems: dict[Key, tuple[Problem, ...]] = {}
        self.synced = False
        """Whether a list was ever complete."""
        self.trouble: str | None = None
        """Why the objects may be behind; None while all is well."""
        self.relists = 0
        self.failures: Counter[Failure] = Counter()
        self._rng = rng
        self._keep = keep or _everything
        self._version = ""
        self._listing = _Listing()
        self._failures = 0
        self._wait = False
        self._retry_after = 0.0
        self._page = PAGE
        """Objects in a page, until this list ends."""
        self._listed = False
        self._opened: float | None = None
        """When the watch in hand began, until it has lasted."""
        self._short = False
        """Whether the last watch broke off before it had lasted."""
        self._broken = False

    @property
    def version(self) -> str:
        """The resourceVersion as of which the objects are; empty while they are listed."""
        return self._version

    def next_request(self) -> Request:
        """Say what to ask next, and after which wait."""
        query = dict(self.resource.query)
        if self._version:
            query |= {
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": self._version,
                "timeoutSeconds": str(int(self._rng.uniform(*WATCH_TIMES))),
            }
            return Request(self._delay(), True, query)
        query["limit"] = str(self._page)
        if self._listing.token:
            query["continue"] = self._listing.token
        # The first list alone is asked for at once.
        pause = FIRST_DELAY if self._listed and not self._listing.token else self._listing.pause
        self._listed = True
        return Request(max(pause, self._delay()), False, query)

    def begin_page(self, body: bytes | bytearray) -> list[msgspec.Raw] | None:
        """Cut a page into its items, for `add`; None where it is no page (a failure)."""
        try:
            page = msgspec.json.decode(body, type=_Page)
        except NOT_JSON as error:
            self.handle_failure(Failure.MALFORMED, str(error))
            return None
        items, token = page.items or [], page.metadata.token
        if wrong := self._count_page(len(items), page.metadata):
            self.handle_failure(Failure.MALFORMED, wrong)
            return None
        self._listing.token, self._listing.version = token, page.metadata.resource_version
        return items

    def _count_page(self, items: int, meta: _ListMeta) -> str:
        """Note a page of so many items; tell what is wrong with it, nothing where all is well."""
        listing = self._listing
        listing.asked += max(items, self._page)
        listing.pause = 0.0
        if not meta.token:
            return "" if meta.resource_version else "a list without a resourceVersion"
        if meta.token == listing.token:
            return "a list whose pages do not go on"
        if items < min(SHORT_PAGE, self._page):
            listing.short += 1
            listing.pause = FIRST_DELAY
        if listing.asked >= MAX_LISTED or listing.short > MAX_SHORT_PAGES:
            return f"a list of too many pages, {listing.short} of them all but empty"
        return ""

    def add(self, items: list[msgspec.Raw]) -> None:
        """Take the items of the page."""
        for raw in items:
            meta = _meta(raw)
            if meta is not None:
                key = (meta.metadata.namespace, meta.metadata.name)
                self._read(raw, key, self._listing.objects, self._listing.problems)

    def end_page(self) -> set[Key]:
        """Close the page; after the last one, give the keys whose objects differ now."""
        if self._listing.token:
            return set()
        listing, self._listing, self._page = self._listing, _Listing(), PAGE
        before = self.objects
        changed = {key for key, view in listing.objects.items() if before.get(key) != view}
        changed |= before.keys() - listing.objects.keys()
        changed |= self.problems.keys() ^ listing.problems.keys()
        self.objects, self.problems = listing.objects, listing.problems
        self._version = listing.version
        self.relists += self.synced
        self.synced = True
        return changed

    def event(self, line: bytes) -> set[Key]:
        """Take one line of the watch; an event that asks for a relist or is no event ends it."""
        try:
            event = msgspec.json.decode(line, type=_Event)
        except NOT_JSON as error:
            self.handle_failure(Failure.MALFORMED, str(error))
            return set()
        found = _meta(event.object)
        if found is None or event.type == "ERROR":
            code = found.code if found is not None else 0
            gone = code in (410, 504)
            self.handle_failure(Failure.GONE if gone else Failure.UNAVAILABLE, f"watch: {code}")
            return set()
        self._version = found.metadata.resource_version or self._version
        key = (found.metadata.namespace, found.metadata.name)
        match event.type:
            case "ADDED" | "MODIFIED":
                before = self.objects.get(key), self.problems.pop(key, ())
                self._read(event.object, key, self.objects, self.problems)
                return (
                    {key}
                    if before != (self.objects.get(key), self.problems.get(key, ()))
                    else set()
                )
            case "DELETED":
                troubled = self.problems.pop(key, None)
                return {key} if self.objects.pop(key, None) is not None or troubled else set()
            case _:
                return set()

    @property
    def watching(self) -> bool:
        """Whether the watch in hand may go on; False after an event that ended it."""
        return bool(self._version) and not self._broken

    def handle_open(self, now: float) -> None:
        """The server accepted the watch: the objects are current as far as we know.

        After a watch that was short this one must have lasted first, else trouble would flicker.
        """
        self._opened, self._broken = now, False
        if not self._short:
            self.trouble = None

    def deadline(self) -> float | None:
        """Return when `handle_timeout` is due; None where no watch has to show that it lasts."""
        return None if self._opened is None else self._opened + SHORT_WATCH

    def handle_timeout(self, now: float) -> None:
        """After the deadline: the watch lasts, so all is well."""
        due = self.deadline()
        if due is not None and now >= due:
            self._opened, self._short, self._failures = None, False, 0
            self.trouble = None

    def handle_end(self, now: float) -> None:
        """The watch ended in order; the next one goes on where it stopped."""
        self.handle_timeout(now)
        if self._opened is not None:
            self.handle_failure(Failure.UNAVAILABLE, "the watch ended at once")

    def handle_failure(self, failure: Failure, reason: str, retry_after: float = 0.0) -> None:
        """Note a failure; the next request waits, longer each time until a watch lasts.

        A list alone does not shorten the wait: one that works between watches that fail would be
        asked for without a pause.
        """
        self.failures[failure] += 1
        self._failures += 1
        self._short |= self._opened is not None
        self._opened, self._broken = None, True
        self._wait, self._retry_after = True, retry_after
        self.trouble = reason[:MAX_REASON] or failure.value
        if failure is Failure.TOO_LONG and not self._version:
            # The list goes on from the same token.
            self._page = max(1, self._page // 2)
        elif failure is not Failure.UNAVAILABLE:
            # Who may list but not watch lists again. A continue token grows old as well.
            self._version, self._listing = "", _Listing()

    def _delay(self) -> float:
        if not self._wait:
            return 0.0
        self._wait = False
        return delay_after(self._failures, self._retry_after, self._rng.uniform(0.5, 1.0))

    def _read(
        self,
        raw: msgspec.Raw,
        key: Key,
        objects: dict[Key, View],
        problems: dict[Key, tuple[Problem, ...]],
    ) -> None:
        """Decode, prune and keep; one that cannot be read leaves the last good one in place."""
        try:
            view, found = decode(self.resource.kind, raw)
            kept = self._keep(view)
        except Exception as error:
            if isinstance(error, ManifestError):
                problems[key] = (error.problem,)
            else:
                problems[key] = (fault(self._name(key), error),)
            if (last := self.objects.get(key)) is not None:
                objects[key] = last
            return
        if found:
            problems[key] = tuple(found)
        if kept is not None:
            objects[key] = kept
        else:
            objects.pop(key, None)

    def _name(self, key: Key) -> str:
        return f"{self.resource.kind} {'/'.join(part for part in key if part)}"


def classify(status: int) -> Failure:
    """Tell what an HTTP status, or 0 for no answer, means for a list or watch."""
    if status == 410:
        return Failure.GONE
    if status in (400, 403, 404, 405):
        return Failure.REFUSED
    return Failure.UNAVAILABLE


def _everything(view: View) -> View:
    return view


def _meta(raw: msgspec.Raw) -> _Object | None:
    try:
        return msgspec.json.decode(raw, type=_Object)
    except NOT_JSON:
        return None
