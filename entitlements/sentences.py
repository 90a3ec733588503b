"""English sentences for stable codes."""

from collections.abc import Mapping

from entitlements.decision import Arg


def sentence(code: str, args: Mapping[str, Arg]) -> str:
    """Render a code and its arguments as an English sentence."""
    raise NotImplementedError
