"""What the hub needs from outside; each port beside its adapters."""
