"""The kit: helpers for tests, in one file for each subject. Test modules import from here, never from each other."""
