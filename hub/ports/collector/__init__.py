"""Where metrics and traces go when an operator wants them elsewhere: port and adapter."""
