"""Backups of a hub: taken while it runs, checked, kept, and put back."""
