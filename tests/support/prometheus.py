"""A real Prometheus in a namespace, for tests: what it scraped when, what it answers, what fires.

Its clock is faster than a cluster's: a scrape every second where the monitors have 15, and all
times of the rules shortened by the same factor, `FACTOR`. No alert waits longer than `LONGEST`.
"""

import calendar
import json
import re
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import yaml

from netns import Host
from prometheus_rules import groups, write_rules
from speakers import wait_until

FACTOR = 15
INTERVAL = "1s"
"""15 s, so much faster."""
LONGEST = 5.0
"""Seconds."""
PORT = 9090
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_DURATION = re.compile(r"(\d+)([smh])")


def faster(text: str) -> str:
    """Return a duration of a rule, shortened."""
    [(number, unit)] = _DURATION.findall(text)
    return f"{1_000 * int(number) * _SECONDS[unit] // FACTOR}ms"


def faster_groups() -> list[dict[str, Any]]:
    """Return all rules with their times shortened."""
    found = groups()
    for rule in (rule for group in found for rule in group["rules"]):
        if "for" in rule:
            waited = int(faster(rule["for"]).removesuffix("ms"))
            rule["for"] = f"{min(waited, int(1_000 * LONGEST))}ms"
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda span: f"[{faster(span[1])}]", rule["expr"])
    return found


@dataclass(frozen=True, slots=True)
class Target:
    """What is scraped: where, as what, and by which job."""

    instance: str
    node: str = ""
    job: str = "speaker"
    scheme: str = "http"


def configuration(targets: Sequence[Target], rules: Path, interval: str) -> dict[str, Any]:
    """Return the file; as the monitors say, but for the pace."""
    jobs = [
        {
            "job_name": f"{target.job}-{number}",
            "honor_labels": True,
            "scheme": target.scheme,
            "tls_config": {"insecure_skip_verify": True},
            "static_configs": [
                {
                    "targets": [target.instance],
                    "labels": {"job": target.job} | ({"node": target.node} if target.node else {}),
                }
            ],
        }
        for number, target in enumerate(targets)
    ]
    paced = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    pace = dict.fromkeys(paced, interval)
    return {"global": pace, "rule_files": [str(rules)], "scrape_configs": jobs}


class Prometheus:
    """One that runs. Whatever is asked of it is as of its last scrapes."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(self, path: str, **parameters: str) -> Any:
        """Return what the API answers. Raises OSError where it does not, or not well."""
        body = urllib.parse.urlencode(parameters)

        def ask() -> Any:
            with closing(HTTPConnection("127.0.0.1", PORT, timeout=10.0)) as connection:
                if path.startswith("query"):
                    # A pattern of 1,000 IPs is too long for a line.
                    form = {"Content-Type": "application/x-www-form-urlencoded"}
                    connection.request("POST", f"/api/v1/{path}", body, form)
                else:
                    connection.request("GET", f"/api/v1/{path}?{body}")
                with connection.getresponse() as reply:
                    text = reply.read()
            if reply.status != HTTPStatus.OK:
                raise OSError(f"{path}: {reply.status}: {text[:500]!r}")
            return json.loads(text)["data"]

        return self._host.namespace.run(ask)

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """Return labels and value of each series of an instant."""
        found = self.get("query", query=expression)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in found["result"]]

    def value(self, expression: str) -> float | None:
        """Return the one value of an instant; None where there is no series."""
        found = self.query(expression)
        assert len(found) <= 1
        return found[0][1] if found else None

    def wait_for_scrapes(self, *instances: str, after: float | None = None) -> None:
        """Wait until each of them was scraped at a time later than `after`, s since 1970, and it
        can be asked for: `up` is stored with what was scraped, and has the time of that."""
        at = time.time() if after is None else after
        # Prometheus may move a scrape's time by 2 ms, to store it in fewer bytes.
        at += 0.01

        def done() -> bool:
            times = {
                labels["instance"]: value for labels, value in self.query("timestamp(up == 1)")
            }
            return all(times.get(each, 0.0) > at for each in instances)

        wait_until(done, f"scrapes of {instances}", 30.0)

    def wait_for_evaluation(self) -> None:
        """Wait until all rules have been evaluated, beginning later than now."""
        now = time.time()

        def done() -> bool:
            found = self.get("rules")["groups"]
            return all(_seconds(group["lastEvaluation"]) > now for group in found)

        wait_until(done, "an evaluation", 30.0)

    def raised(self, state: str = "firing") -> dict[str, list[Mapping[str, str]]]:
        """Return the labels of all alerts in this state, by name."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for labels, _ in self.query(f'ALERTS{{alertstate="{state}"}}'):
            found.setdefault(labels["alertname"], []).append(labels)
        return found

    def wait_for_alert(self, name: str, within: float = 40.0) -> Mapping[str, str]:
        """Wait until it fires; return the labels of one."""

        def found() -> Mapping[str, str] | None:
            return next(iter(self.raised().get(name, ())), None)

        labels: Mapping[str, str] = wait_until(found, f"alert {name}", within)
        return labels


def _seconds(text: str) -> float:
    """Read a time of the API, which has nanoseconds."""
    whole, _, rest = text.rstrip("Z").partition(".")
    zone = re.search(r"[+-]\d\d:\d\d$", rest)
    assert zone is None or zone[0] == "+00:00", "this is read in UTC"
    fraction = float("0." + (rest[: zone.start()] if zone else rest or "0"))
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + fraction


@contextmanager
def prometheus(
    host: Host, folder: Path, targets: Sequence[Target], interval: str = INTERVAL
) -> Iterator[Prometheus]:
    """Run one on the host, which scrapes once an `interval`; it is killed at the end."""
    folder.mkdir(exist_ok=True)
    write_rules(folder / "rules.yaml", faster_groups())
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump(configuration(targets, folder / "rules.yaml", interval))
    )
    command = [
        *("prometheus", f"--config.file={folder / 'prometheus.yaml'}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{PORT}"),
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = host.namespace.start(command, stdout=log.fileno(), stderr=subprocess.STDOUT)
    made = Prometheus(host)
    try:
        wait_until(lambda: _answers(made), f"Prometheus, see {folder / 'log'}", 30.0)
        yield made
    finally:
        process.kill()
        process.wait()


def _answers(made: Prometheus) -> bool:
    try:
        return bool(made.query("vector(1)"))
    except OSError:
        return False
