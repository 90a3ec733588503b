"""The way of one message: stages that share arrays and never import one another."""
