# `make demo` runs a real ablation; `make test` is what CI runs. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin

# Ray starts a process for each worker, which would otherwise compile this project anew, for two seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint setup

demo: setup
	$(BIN)/polyview demo

test: lint
# Half of the time is Ray's processes starting one after the other: two files at once fill two cores. Their order stays,
# for a process that has started Ray itself asks later clusters for its token.
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 10

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
# Words of this project's own, for which the field has one: worker group, job package, preemption, node report, interim
# scores, failure, queue order, cached path, upload.
	! grep -rnwE --include='*.py' platform tests \
		-e '[Cc]rews?|[Pp]arcels?|Notices|Sight|[Ss]couts?|read_looks|write_looks|looks_of|stopped_early|stopped_run' \
		-e '_?conduct(s|ed|ing)?|InTurn|Mirrored|keep_folder|Fault|(describe|read)_faults|write_fault|on_fault|home_fault'

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polyview needs Python 3.11 or newer; this is " + sys.version + "; set PYTHON=")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
