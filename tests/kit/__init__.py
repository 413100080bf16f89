"""The kit: what makes things for tests, a file for each. A test module imports from here, and from no other test."""
