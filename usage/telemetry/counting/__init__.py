"""The numbers of `/metrics`: `tally` counts events, `numbers` keeps the sums, `series` says what they are called, and
`shared` is how several workers add theirs up. `labels` bounds how many names get a label.
"""
