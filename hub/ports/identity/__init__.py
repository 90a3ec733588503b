"""Identity providers: the port beside its one adapter, OpenID Connect."""
