"""The namespace lab: real speakers on a real bridge, faults, and a stopwatch.

It imports nothing of the speaker; it starts it as a process, as a machine would.
"""
