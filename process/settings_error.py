"""What every program says of a flag, a variable or a file that it cannot start with."""


class SettingsError(Exception):
    """A setting that cannot be used; the text is one line that names it."""
