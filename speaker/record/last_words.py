"""What of the flight recorder stands in a log's last lines, where a speaker fails. Pure."""

from collections.abc import Iterator, Sequence

from speaker.record.flight_recorder import FlightRecorder

RECORDS_A_LINE = 8
"""A line stays below the 4,096 bytes that reach a pipe in one piece, as a rule."""


def lots(recorder: FlightRecorder) -> Iterator[Sequence[bytes]]:
    """Yield all records, those of a line at a time and the newest line first: who knows how many
    lines are written. In a line they stand in their order, each as it is kept."""
    records = recorder.after(0)
    for end in range(len(records), 0, -RECORDS_A_LINE):
        yield records[max(0, end - RECORDS_A_LINE) : end]
