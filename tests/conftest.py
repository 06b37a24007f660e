"""What holds for all tests."""

from hypothesis import settings

# A deadline of one example depends on how fast the machine is, and on what else it does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
