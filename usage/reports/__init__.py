"""Reports of usage by key, user, team, project, provider, model or tag. They are made from the sums by hour and day,
never from the ledger."""
