"""The journal: what is in it and synced has been received."""
