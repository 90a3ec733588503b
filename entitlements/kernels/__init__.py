"""Compiled loops over facts as columns. Nothing here knows a rule; what changes here compiles all kernels anew."""
