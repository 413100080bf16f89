"""A request of the management API is understood whole, or refused: nothing in it is dropped without a word.

`members.py` is for bodies, `queries.py` for query strings, `resource.py` for the rows that they change; `old_names.py`
has the names that other gateways use. This package knows no app; every app's serializers and views build on it.
"""
