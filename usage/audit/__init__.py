"""The audit log: who did what, and what was refused. Entries are added and never edited."""
