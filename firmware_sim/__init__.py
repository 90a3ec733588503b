"""Simulated products that run the real device SDK."""
