"""The hub: devices phone home to it, people ask it, it answers and pushes back."""
