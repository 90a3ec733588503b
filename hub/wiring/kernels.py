"""All numba kernels of the hub: importing their modules compiles them.

Kernels that Python calls state their types; those that only kernels call are compiled into them.

1. numba reads its cache folder when it is first imported: call `roles.use_cache` before.
"""

import importlib
import pkgutil

PACKAGES = ("analytics", "hub.pipeline")


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
