"""Simulated products: what stands in a house and is measured."""
