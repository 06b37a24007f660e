"""The folder of `--source`, looked at by a thread that leaves the loop its processor."""

from pathlib import Path

from kube.files.directory import DirectorySource, OnChange
from process.interpreter import Leisure


class FileSource(DirectorySource):
    """The folder of `--source`, read by a thread that takes its time."""

    def __init__(self, directory: Path, namespace: str, on_change: OnChange) -> None:
        super().__init__(directory, namespace, on_change, Leisure)
