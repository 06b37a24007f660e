"""`clarion doctor`: what is wrong with hosts and cluster, and the one command that mends it."""

from clarion.doctor.command import doctor as doctor
