"""What people are shown: money, times and words; and what all forms and deeds of the admin have in common."""
