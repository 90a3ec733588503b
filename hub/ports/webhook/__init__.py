"""The way out for webhooks."""
