"""Command line of the benchmarks: `python -m benchmarks NAME [--json] [--quick] [--seed N] [--dir DIR]`.

1. With `--json` the last line of output is one JSON object; progress goes to standard error.
2. `all` runs each benchmark in a process of its own, so that none warms or burdens another.
What must never live here: anything that is measured.
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import registry
from hub.config import Settings
from hub.wiring.kernels import use_cache


def main() -> int:
    """Run what the command line asks for; 0 if all of it could be measured."""
    names = registry.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=["all", *names])
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help="a smaller workload")
    parser.add_argument("--dir", type=Path, help="where temporary files go (default: TMPDIR)")
    parser.add_argument("--seed", type=int, help="of what is drawn, where a benchmark takes one")
    arguments = parser.parse_args()
    if arguments.dir:
        arguments.dir.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(arguments.dir.resolve())
    if arguments.name == "all":
        return _all(names, quick=arguments.quick, as_json=arguments.json)
    use_cache(Settings().cache_dir)
    run = registry.load(arguments.name)
    seed = {} if arguments.seed is None else {"seed": arguments.seed}
    if seed.keys() - inspect.signature(run).parameters:
        parser.error(f"{arguments.name} takes no seed")
    result = run(arguments.quick, **seed)
    print(json.dumps(result) if arguments.json else _table({arguments.name: result}))
    return 0


def _all(names: list[str], *, quick: bool, as_json: bool) -> int:
    """Run all benchmarks one after the other and show one table, or one object."""
    results: dict[str, dict[str, Any]] = {}
    failed = 0
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks", name, "--json", *["--quick"] * quick]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed += 1
            results[name] = {"error": f"ended with exit code {done.returncode}"}
        else:
            results[name] = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(results) if as_json else _table(results))
    return 1 if failed else 0


def _table(results: dict[str, dict[str, Any]]) -> str:
    rows = [(name, *pair) for name, result in results.items() for pair in _flat(result)]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    return "\n".join(
        f"{name:{widths[0]}}  {key:{widths[1]}}  {_shown(value)}" for name, key, value in rows
    )


def _flat(result: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List nested results as dotted names."""
    pairs: list[tuple[str, Any]] = []
    for key, value in result.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs


def _shown(value: object) -> str:
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.4g}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
