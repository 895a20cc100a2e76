# make sim    set up what is missing, then: a hand on video moves the robot, in the browser
# make test   set up what is missing, then run the tests
# make train  set up what is missing, and train the pose transformer (WITH="key=value …")
# make soak   the whole graph under faults and kills, half an hour (MINUTES=30 SEED=0)
# make bench  measure everything the README states (takes a while)
# Arguments of the graph are given in capitals: make sim SOURCE=0 HAND=left VIEWER=false RECORD=bags/one
SHELL := /bin/bash
ARGS := SOURCE RATE LOOP CALIBRATION FOV_DEG ESTIMATOR MODEL RUNTIME SMOOTHING BRIDGE HAND MIRROR ACTION HAND_LENGTH VIEWER HOST PORT TOKEN RVIZ MESHES RECORD ARM_SCALE ASSIST HAND_DRIVER ENGAGE PARAMS
lower = $(shell echo '$(1)' | tr A-Z a-z)
# HOST is set by some shells to the machine's name: only what is given to make counts.
given = $(foreach arg,$(ARGS),$(if $(filter command line,$(origin $(arg))),$(call lower,$(arg)):='$($(arg))'))

.PHONY: sim perception train test lint bench soak snapshot clip hand clean setup
.DEFAULT_GOAL := sim

sim: setup
	@.venv/bin/manip sim $(given)

perception: setup
	@.venv/bin/manip perception $(given)

# What the chosen estimator needs beside the rest.
extra = $(if $(filter amt,$(ESTIMATOR)),$(if $(filter torch,$(RUNTIME)),train,amt))
setup:
	@scripts/setup.sh $(extra)

# make train WITH="preset=tiny data=generated": arguments as for `manip train`.
train: setup-train
	@.venv/bin/manip train $(WITH)

.PHONY: setup-train setup-dev
setup-train:
	@scripts/setup.sh train

setup-dev:
	@scripts/setup.sh dev

test: setup-dev lint
	@. scripts/env.sh && .venv/bin/python -m pytest

lint: setup-dev
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

bench: setup-dev
	@. scripts/env.sh && .venv/bin/python tests/bench/run.py

soak: setup-dev
	@. scripts/env.sh && .venv/bin/python tests/bench/soak.py --minutes $(or $(MINUTES),30) --seed $(or $(SEED),0)

snapshot: setup
	@.venv/bin/manip snapshot --out docs/images

clip: setup-train
	.venv/bin/pip install -q -r requirements/clip.txt
	.venv/bin/python scripts/make_demo_clip.py --out assets/demo

hand:
	python3 -m venv .venv-hand && .venv-hand/bin/pip install -q -r requirements/hand.txt
	.venv-hand/bin/python scripts/make_open_hand.py

clean:
	rm -rf build install log log-build.txt .venv .venv-* models
