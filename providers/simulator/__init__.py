"""The simulator: a built-in provider that speaks OpenAI's API, is deterministic, and fails on demand.

`script.py` turns a request into a script: what is sent, when, and how it breaks. `inprocess.py` plays the script inside
Sluice, and `server.py` plays it over sockets.
"""
