"""Who is told of alerts."""

from __future__ import annotations

SECRET = "a-secret-of-the-tests-0123456789"
TO = ["ops@example.org", "billing@example.org"]
