"""Archives: many files as one, hashed, and sealed by a passphrase if wanted."""
