# The two commands of the README are `make demo` and `make test`.
# A system interpreter: one below a private home is unreadable for the unprivileged user the tests switch to.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check lock clean
