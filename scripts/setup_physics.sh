#!/usr/bin/env bash
# Makes .venv-physics, in which `manip refine` and the physics benchmarks run. Apart from .venv, as
# the simulation needs none of it (JAX alone is 600 MB).
#   scripts/setup_physics.sh         for the CPU
#   scripts/setup_physics.sh cuda    for an NVIDIA GPU, with MuJoCo Warp beside MJX
# MANIP_JAX and MANIP_TORCH name other builds to install.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-physics
case "${1:-cpu}" in
  cpu) jax=jax==0.10.2 extra=() ;;
  cuda) jax='jax[cuda12]==0.10.2' extra=('mujoco-mjx[warp]==3.17.0') ;;
  *) echo "usage: scripts/setup_physics.sh [cpu|cuda], got $1" >&2; exit 1 ;;
esac
[ -x $venv/bin/python ] || "${PYTHON:-python3}" -m venv $venv
pip="$venv/bin/python -m pip install -q --disable-pip-version-check"
# PyTorch first and by itself, so that nothing else picks a build of it.
$pip "${MANIP_TORCH:-torch==2.13.0}"
$pip "${MANIP_JAX:-$jax}"
$pip -r requirements/physics.in "${extra[@]}"
# The tests of this part run here too: .venv-physics/bin/python -m pytest tests/unit/test_physics_*
$pip pytest pytest-timeout
echo "ready: $venv"
