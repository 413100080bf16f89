"""Becomes another program that ends when the program that started it does: `launcher.py SIGNAL UID GID -- program …`.

A program of its own, because `preexec_fn` runs Python between fork and exec, which a process with threads must not do.
Nothing but the standard library: it runs under `python -I -S`, in about 15 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    signal_name, uid, gid, parent, _, *command = sys.argv[1:]
    if int(uid) != os.getuid():
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        # After setuid: the kernel forgets the wish when the user changes.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, getattr(signal, signal_name), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the starting process is gone already")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
