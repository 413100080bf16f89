"""A TCP proxy on loopback that can silence its present connections while new ones work.

This is what clients see after a failover, or behind a firewall that has dropped its state.
"""

from __future__ import annotations

import contextlib
import socket
import threading


class SilentProxy:
    """`with SilentProxy(port) as proxy:`, then connect to `proxy.port`."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[Pair] = []
        self._are_new_silent = False

    def __enter__(self) -> SilentProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            pair.close()

    def silence(self, *, new_too: bool = False) -> int:
        """Pass nothing more on the present connections, and nothing on new ones until `pass_new`. Returns how many
        connections there are.
        """
        self._are_new_silent = new_too
        present = [pair for pair in self._pairs if not pair.is_over]
        for pair in present:
            pair.is_silent = True
        return len(present)

    def pass_new(self) -> None:
        """Pass what comes on connections that are made from now on."""
        self._are_new_silent = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                return
            self._pairs.append(Pair(client, server, is_silent=self._are_new_silent))


class Pair:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket, *, is_silent: bool) -> None:
        self.is_silent, self.is_over = is_silent, False
        self._ends = (client, server)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.is_silent:
                    sink.sendall(data)
        self.is_over = True
        if not self.is_silent:
            self.close()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
