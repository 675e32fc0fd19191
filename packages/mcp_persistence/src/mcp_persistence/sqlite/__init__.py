"""The journal in one SQLite file: tables, the writer's desk, suspicious reading, recovery."""
