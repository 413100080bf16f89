"""A load generator for any OpenAI-compatible API: what `manage.py bench` and the benchmarks in bench/ are made of.

It does not use Django. A general HTTP client would mostly measure itself. So here the bytes of a request are made once,
and an answer is parsed only to find its end.
"""
