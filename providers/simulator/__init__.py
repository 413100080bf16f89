"""The built-in upstream: deterministic, speaks OpenAI's API, fails on demand.

`script.py` turns a request into a script (what is sent, when, and how it breaks); `inprocess.py` plays it inside
Sluice, `server.py` over sockets.
"""
