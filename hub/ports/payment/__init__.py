"""Ways to collect money and pay it back: the port beside its adapters."""
