# The two commands of the README are `make demo` and `make test`.
# A system interpreter by choice: one below a private home cannot be read by the unprivileged user
# that some tests switch to.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test check lock clean venv-demo venv-test

demo: venv-demo
	netns-lab/lab demo

test: venv-test
	.ci/steps

check: venv-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two sets of packages in one environment: the demo's is a subset of the tests'.
venv-demo: $(VENV)/installed-demo
venv-test: $(VENV)/installed-test

$(VENV)/installed-demo: requirements/demo.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/demo.txt
	$(PIP) install --no-index --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/installed-test: requirements/test.txt $(VENV)/installed-demo
	$(PIP) install --require-hashes -r requirements/test.txt
	touch $@

# Needs uv (a development tool, not installed by any target).
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	pyproject.toml requirements/build.in
lock:
	$(COMPILE) --extra kubernetes --extra lab --extra test -o requirements/test.txt
	$(COMPILE) --extra lab -c requirements/test.txt -o requirements/demo.txt
	$(COMPILE) -c requirements/test.txt -o requirements/speaker.txt
	$(COMPILE) --extra kubernetes -c requirements/test.txt -o requirements/kubernetes.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
