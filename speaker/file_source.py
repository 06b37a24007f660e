"""The folder of `--source`, looked at by a thread that leaves the loop its processor."""

from pathlib import Path

from process.interpreter import Leisure
from speaker.source_files import DirectorySource, OnChange


class FileSource(DirectorySource):
    """The folder of `--source`, read by a thread that takes its time."""

    def __init__(self, directory: Path, namespace: str, on_change: OnChange) -> None:
        super().__init__(directory, namespace, on_change, Leisure)
