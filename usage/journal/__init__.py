"""The journal: every request that ends is one event on disk before its client has the whole answer.

`spool` appends what a process served to segments of its own, `segments` reads them, `consumer` writes the ledger from
them, and `process` keeps a process for that beside the server. `record` says how an event stands in a file.
"""
