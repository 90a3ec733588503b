"""The relational port: tables, sessions, migrations."""
