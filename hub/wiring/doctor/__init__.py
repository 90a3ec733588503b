"""`homeport doctor`: looks at a hub, running or not, and says what is wrong and what to do."""
