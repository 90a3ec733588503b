"""Applications assembled from parts: the HTTP application, the ingest worker, the supervisor."""
