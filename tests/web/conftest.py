"""The API's world, with pages: the fixtures are the same."""

from tests.hub.api.conftest import ada, authority, bob, support, world

__all__ = ["ada", "authority", "bob", "support", "world"]
