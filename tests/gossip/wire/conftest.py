"""Hypothesis without its stopwatch: a busy machine is no bug, and speed has tests of its own."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
