"""Long JSON is read by a child process of the worker that received it.

A decoder reads a text in one go and holds the global interpreter lock meanwhile, so a thread would block the event loop
as well. 60 MiB take it a third of a second if they are one string, and seconds if they are small values. So the worker
keeps the bytes, and the child tells it what it needs of them: where the members stand, and what the steps need of the
large ones (`jobs.py`). The worker sends long bodies on in pieces.

    jobs.py      the messages between worker and child
    reading.py   the reading itself, by the functions that read short bodies
    __main__.py  the child: `python -m proxy.heavy`
    reader.py    the worker's side: starts the child, asks it, ends it
    body.py      a request's body as the steps know it
"""
