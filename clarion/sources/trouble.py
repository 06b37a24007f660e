"""Why there is nothing to look at. Pure."""


class UnseenError(Exception):
    """A source could not be read: exit status 2. The text is one line that names it."""
