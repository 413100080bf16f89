"""The journal: every request that ends is one event on disk before its client has the whole answer.

`spool` appends what a process served to segments of its own, `segments` reads them; `record` says how an event stands
in a line. `writer` says who writes the ledger: `consumer` from the spool of this host, or `stream_consumer` from the
stream in Redis, into which `shipping` sends the spool; `process` keeps a process for that beside the server. Others
read through a `source`.
"""
