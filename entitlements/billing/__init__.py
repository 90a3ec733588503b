"""What is counted of usage, and in which billing periods; pure."""
