"""Pages for customers and support, rendered on the server."""
