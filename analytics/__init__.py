"""Online anomaly detection over many series at once."""
