"""The command `homeport`, and `python -m hub`."""

import sys

_MISSING = (
    "This is the device part of Homeport; the command needs the hub, of which {name} is missing. "
    'Install it with: pip install "homeport[hub]"\n'
)
_OURS = {"homeport", "hub", "device_sdk", "entitlements", "analytics", "firmware_sim"}


def main() -> None:
    """Run the command line, or one role of a running hub."""
    try:
        if sys.argv[1:2] == ["_role"]:
            sys.exit(_role(sys.argv[2:]))
        from hub.wiring.cli import main as command_line  # noqa: PLC0415  needs the extra [hub]
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise  # a fault of ours, or a checkout that is not installed; not a missing extra
        sys.stderr.write(_MISSING.format(name=error.name))
        sys.exit(2)
    command_line()


def _role(arguments: list[str]) -> int:
    """Start without the command line's imports: there is one such process for each role."""
    from pathlib import Path  # noqa: PLC0415

    from hub.wiring import roles  # noqa: PLC0415  needs the extra [hub]

    name, *rest = arguments
    return roles.run(name, Path(rest[1]) if rest else None)


if __name__ == "__main__":
    main()
