"""The journal: every request that ends is one event on disk before its client has the whole answer.

`spool` appends the events of a process to its own segments, and `segments` reads them. `record` defines the format of a
line. `writer` chooses what writes the ledger: `consumer` reads the spool of this host, and `stream_consumer` reads the
stream in Redis, to which `shipping` sends the spool. `usage/ledger_process.py` keeps a process for that beside the
server. All other consumers read through a `source`.
"""
