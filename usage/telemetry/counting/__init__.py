"""The numbers of `/metrics`. `tally` counts events, `numbers` holds the sums, `series` has their names and labels, and
`shared` adds up those of several workers. `labels` bounds how many names get a label.
"""
