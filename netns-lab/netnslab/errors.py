"""The one exception that ends a lab run with a plain line instead of a traceback."""


class LabError(Exception):
    """The lab itself could not do its work; the message is one line for a person."""
