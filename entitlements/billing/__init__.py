"""What is counted of usage, in which billing periods, and what it costs; pure."""
