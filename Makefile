# The project's commands; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
SITE_INSTALLED := .venv/site-installed
NOTEBOOKS := notebooks/[0-9][0-9]_*.ipynb

.DEFAULT_GOAL := help
.PHONY: run test matrix lab refresh site check-site slides clean help

run: $(INSTALLED) ## execute the notebooks on the embedded faces (or ELFW_DATA=FOLDER make run) into build/
	@$(BIN)/elfw run

# Notebooks first, each after those whose results it loads, and the unit tests beside and after them; a process
# more than there are cores, because many tests wait. One thread each, as in `elfw run`. The last lines say what was
# not tested, and the command that changes that. The tests are about the embedded faces, so ELFW_DATA is not theirs.
test: $(INSTALLED) ## compare the notebooks with a fresh run of them, and run the unit tests
	@rm -rf build/test && mkdir -p build/test
	@unset ELFW_DATA; ELFW_BUILD="$$PWD/build/test" OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest --nbval --nbval-current-env -n 3 --dist loadscope -rs $(NOTEBOOKS) tests

# Environments of its own in .matrix/, each removed when it is done.
matrix: ## run the unit tests on Python 3.10 to 3.14, and with the oldest packages allowed (needs uv; an hour or more)
	@"$(PYTHON)" .ci/matrix.py

# Kernels work in notebooks/, so a relative ELFW_DATA or ELFW_BUILD is made absolute here.
lab: $(INSTALLED) ## open the notebooks in JupyterLab
	@for name in ELFW_DATA ELFW_BUILD; do \
		eval "value=\$${$$name:-}"; \
		case "$$value" in "" | /*) ;; *) export "$$name=$$PWD/$$value" ;; esac; \
	done; \
	$(BIN)/jupyter lab notebooks

refresh: $(INSTALLED) ## execute the committed notebooks in place, redraw figures/ and write notebooks/student/
	@$(BIN)/elfw refresh

site: $(SITE_INSTALLED) ## build the course's web site from the committed notebooks into build/site
	@$(BIN)/elfw site

check-site: site ## open each page of the site in Chromium, and list what is wrong
	@$(BIN)/elfw check-site

slides: $(SITE_INSTALLED) ## write slides of all notebooks, or of one (make slides NOTEBOOK=03), into build/slides
	@$(BIN)/elfw slides $(NOTEBOOK)

clean: ## remove build/ and .venv/
	rm -rf build .venv

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(firstword $(MAKEFILE_LIST))

# Only a finished install leaves the stamp, so a failed one is done again.
$(INSTALLED): pyproject.toml
	@rm -f $@
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON): install Python 3.10 or newer." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "This course needs Python 3.10 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)." \
			"Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments." \
			"On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@echo "Installing into .venv; the first time this downloads up to several GB and takes some minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(SITE_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[site]'
	@touch $@
