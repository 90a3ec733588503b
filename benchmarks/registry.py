"""Which benchmarks there are: every module of this package that has a `run`.

1. `run(quick: bool) -> dict` measures in this process and returns plain numbers and text.
2. A benchmark makes its own workload from a seed, and leaves nothing behind.
What must never live here: the name of a benchmark.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., dict[str, Any]]


def names() -> list[str]:
    """Name all benchmarks, in alphabetical order.

    Modules are not imported for this: a benchmark's process loads only what it measures.
    """
    folder = Path(__file__).parent
    found = (path for path in folder.glob("*.py") if "\ndef run(" in path.read_text("utf-8"))
    return sorted(path.stem for path in found)


def load(name: str) -> Run:
    """Give the `run` of a benchmark that `names` named."""
    run: Run = importlib.import_module(f"benchmarks.{name}").run
    return run
