"""Who did what, and what was refused: a log that grows and is never edited."""
