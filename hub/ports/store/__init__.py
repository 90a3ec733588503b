"""The time-series store port and its adapters."""
