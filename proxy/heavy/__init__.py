"""Long JSON is read in a process of its own, which belongs to the worker that got it.

A decoder works through a text in one go and holds the interpreter's lock meanwhile, so a thread would hold up the event
loop as well: 60 MiB take it a third of a second where they are one text, and seconds where they are small values. So
the worker keeps the bytes, and hears from a child what it has to know of them: where the members stand, and what every
step asks of the large ones (`jobs.py`). What it sends on, it sends in pieces.

    jobs.py      what is asked of the child and what it tells
    reading.py   the reading itself, with what short bodies are read with
    __main__.py  the child: `python -m proxy.heavy`
    reader.py    the worker's side: starts it, asks it, ends it
    body.py      a request's body as the steps know it
"""
