"""All numba kernels of the hub: importing their modules compiles them.

Kernels that Python calls state their types; those that only kernels call are compiled into them.

1. numba reads its cache folder when it is first imported: call `use_cache` before.
2. numba looks only at the file of a kernel, not at the kernels it calls from other files. So each state of the sources
   has a cache folder of its own, and an edit never runs old code.
"""

import hashlib
import importlib
import importlib.util
import os
import pkgutil
import shutil
from pathlib import Path

PACKAGES = ("analytics", "entitlements.kernels", "hub.pipeline")


def use_cache(folder: Path) -> Path:
    """Tell numba where compiled kernels are; a `NUMBA_CACHE_DIR` that is set already stays.

    Args:
        folder: the cache folder of the hub (`Settings.cache_dir`).

    Returns:
        The folder for the present sources.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            for source in sorted(Path(place).glob("*.py")):
                digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    cache = folder / "numba" / digest.hexdigest()[:16]
    return Path(os.environ.setdefault("NUMBA_CACHE_DIR", str(cache)))


def drop_others(cache: Path) -> None:
    """Delete what was compiled from other states of the sources, beside `cache`."""
    for other in cache.parent.glob("*"):
        if other != cache and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)


def load_all() -> int:
    """Import all modules of the packages that hold kernels; return how many were compiled."""
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415  see rule 1

    kernels: set[Dispatcher] = set()
    for package in PACKAGES:
        folder = importlib.import_module(package).__path__
        for module in pkgutil.iter_modules(folder, f"{package}."):
            values = vars(importlib.import_module(module.name)).values()
            kernels.update(value for value in values if isinstance(value, Dispatcher))
    return sum(bool(kernel.signatures) for kernel in kernels)
