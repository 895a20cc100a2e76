"""How JAX is set up before a model is made."""

from pathlib import Path

import jax


def set_up(*, double: bool = True) -> None:
    """Choose float64 or float32, and keep what is compiled: a gradient takes a minute to compile.

    Compiled functions are kept in ``~/.cache/manip_jax`` unless ``JAX_COMPILATION_CACHE_DIR`` says
    otherwise; they are found again by all that they were compiled from.
    """
    jax.config.update("jax_enable_x64", double)
    if not jax.config.jax_compilation_cache_dir:
        folder = Path.home() / ".cache/manip_jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))
