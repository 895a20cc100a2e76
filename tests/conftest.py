"""MuJoCo draws off screen in the tests; small networks compute on one thread, which is faster."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
# Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
