"""The device SDK: what a connected product carries."""
