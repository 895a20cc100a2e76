"""Differentiable physics: the suite's robot in MJX. Needs JAX (scripts/setup_physics.sh).

Importing this gives XLA's pool on a CPU at least eight threads (``PJRT_NPROC``, where it is not
set), which XLA reads when it first computes. A Cholesky factorisation of many worlds waits within
that pool for others of its threads. A step of the simulation has up to four of them at a time, so
that a pool of two to four threads, as machines with so few cores get, waits for itself for ever
(jaxlib 0.10.2).
"""

import os

_LEAST_THREADS = 8

os.environ.setdefault("PJRT_NPROC", str(max(_LEAST_THREADS, os.cpu_count() or 1)))
