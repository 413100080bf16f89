"""A load generator for any OpenAI-compatible API: what `manage.py bench` and the benchmarks in bench/ are made of.

It knows nothing of Django. A general HTTP client would measure itself: here a request is bytes made once, and an answer
is parsed as far as its end.
"""
