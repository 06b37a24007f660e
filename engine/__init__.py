"""FRR's container: a small supervisor that starts and stops the engine's daemons together.

It runs beside the speaker's container and shares one folder with it, nothing else: no code, no
port. So it needs Python and FRR alone.
"""
