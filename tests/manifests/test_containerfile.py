"""The image's recipe, as far as it can be judged without building it."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LINES = [
    shlex.split(line)
    for line in (ROOT / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
PROGRAMS = ("speaker", "controller", "clarion")
WORKLOADS = ("DaemonSet", "Deployment")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _copied() -> list[str]:
    """What comes from the project's folder."""
    return [
        source
        for line in LINES
        if line[0] == "COPY" and not line[1].startswith("--")
        for source in line[1:-1]
    ]


def test_every_package_is_copied_and_nothing_of_the_tests() -> None:
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    # Those two inject faults: they are for a laboratory.
    packages = {name for name in include if "." not in name} - {"sim", "netnslab"}
    files = {"pyproject.toml", "README.md", "LICENSE", "requirements/kubernetes.txt"}
    assert set(_copied()) == packages | files
    assert all((ROOT / source).exists() for source in _copied())


def test_every_folder_of_a_package_is_installed() -> None:
    """One that nobody names is missing from the image, and nothing but a start shows it."""
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    roots = [name for name in include if "." not in name]
    found = {
        ".".join(path.parent.relative_to(where).parts)
        for where in (ROOT, ROOT / "netns-lab")
        for root in roots
        for path in (where / root).rglob("__init__.py")
    }
    assert found == set(include)


def test_the_build_context_is_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    # The engine's supervisor goes into FRR's image.
    assert kept == {source.removesuffix("/kubernetes.txt") for source in _copied()} | {"engine"}


def test_what_is_installed_is_pinned_by_hash() -> None:
    installs = [line for line in LINES if line[0] == "RUN" and "install" in line]
    assert ["--require-hashes" in line for line in installs] == [True, False]
    # The second one installs the project alone, from its folder.
    assert {"--no-index", "--no-deps", "--no-build-isolation", "."} <= set(installs[1])


def test_what_installs_is_not_in_the_image() -> None:
    """`.ci/try-image` looks into a built one."""
    last = max(index for index, line in enumerate(LINES) if line[0] == "FROM")
    removed = [index for index, line in enumerate(LINES) if "uninstall" in line]
    assert len(removed) == 2
    # Ours before it is copied, the base's own after that.
    assert removed[0] == last - 1
    assert removed[1] == last + 1
    assert [line[1:] for line in LINES[last:] if line[0] == "COPY"] == [
        ["--from=build", "/opt/clarion", "/opt/clarion"]
    ]


def test_metallbs_entry_points_and_no_other_host() -> None:
    assert LINES[-1] == ["ENTRYPOINT", "[/speaker]"]
    links = [["ln", "-s", f"/opt/clarion/bin/{name}", f"/{name}"] for name in PROGRAMS]
    assert ["RUN", *links[0], "&&", *links[1], "&&", *links[2]] in LINES
    assert {line[1] for line in LINES if line[0] == "FROM"} == {"${BASE}"}
    assert "://" not in (ROOT / "Containerfile").read_text()


def test_the_base_is_pinned_by_digest_and_its_python_is_one_that_we_support() -> None:
    (base,) = [line[1] for line in LINES if line[0] == "ARG"]
    found = re.fullmatch(r"BASE=python:(\d+)\.(\d+)\.\d+-slim@sha256:[0-9a-f]{64}", base)
    assert found is not None
    required: Any = PROJECT["project"]["requires-python"].removeprefix(">=").split(".")
    assert tuple(map(int, found.groups())) >= tuple(map(int, required))


def test_the_ports_of_the_pods_are_the_images(base: list[dict[str, Any]]) -> None:
    (exposed,) = [set(line[1:]) for line in LINES if line[0] == "EXPOSE"]
    ports = {
        f"{port['containerPort']}/{port.get('protocol', 'TCP').lower()}"
        for entry in base
        if entry["kind"] in WORKLOADS
        for port in entry["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert ports == exposed


@pytest.mark.parametrize("kind", WORKLOADS)
def test_each_workload_runs_the_image_of_this_version(
    base: list[dict[str, Any]], kind: str
) -> None:
    (workload,) = [entry for entry in base if entry["kind"] == kind]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"clarion/speaker:{PROJECT['project']['version']}"
