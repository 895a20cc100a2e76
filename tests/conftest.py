"""MuJoCo draws off screen in the tests."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
