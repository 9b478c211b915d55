"""Compiled programs, kept in the user's cache folder, so that every later start is quick.

JAX keeps them under the program's text, its own version and the device. A CPU's features it leaves
out, and homes are shared between machines: they are part of the folder's name here.
"""

from __future__ import annotations

import hashlib
import pathlib
import platform

import jax
import jaxlib

from sadajem_jax.console import user_folder

CPU_INFO = pathlib.Path("/proc/cpuinfo")  # of Linux; elsewhere machine and processor have to do
ALL_SIZES = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,  # JAX leaves out what takes below a second,
    "jax_persistent_cache_min_entry_size_bytes": -1,  # and a start compiles dozens of such programs
}


def keep() -> None:
    """Keeps what is compiled from now on, unless the user has said where (or that none is)."""
    said = jax.config.values
    if said["jax_compilation_cache_dir"] is None and said["jax_enable_compilation_cache"]:
        jax.config.update("jax_compilation_cache_dir", str(folder()))
        for name, value in ALL_SIZES.items():
            jax.config.update(name, value)


def folder() -> pathlib.Path:
    """Of this machine's kind and these versions; others' programs are never read."""
    features = hashlib.sha256(_cpu().encode()).hexdigest()[:8]
    name = f"jax-{jax.__version__}-{jaxlib.__version__}-{platform.machine()}-{features}"
    return user_folder.cache() / "compiled" / name


def _cpu() -> str:
    """What tells CPUs apart that do not run each other's programs."""
    if not CPU_INFO.exists():
        return platform.processor()
    lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    told = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join(sorted(told))
