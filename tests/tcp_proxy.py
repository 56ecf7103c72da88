"""A TCP proxy on loopback that a test cuts or lets hang: all connections at once, or one at the moment certain bytes pass."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psycopg

_CHUNK_BYTES = 4096


class Proxy:
    """Forwards what comes to `port` to whatever `connect` opens; `cuts` counts connections that were cut."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._cut_at: list[bytes] = []
        self._forwards = True
        self._flows = threading.Event()
        self._flows.set()
        self.cuts = 0
        self.refuse = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._listener.close()
        self.go_on()
        self.cut()

    @property
    def is_used(self) -> bool:
        return bool(self._pairs)

    def hang(self) -> None:
        """From now on connections are made and nothing comes through, as from a server whose process is stopped."""
        self._flows.clear()

    def go_on(self) -> None:
        """What was held back comes through."""
        self._flows.set()

    def cut(self) -> None:
        """Ends every connection that is open, whatever is under way."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            self._end(pair)

    def cut_at(self, what: bytes, times: int, *, forward: bool = True) -> None:
        """The next `times` connections on which the client says `what` end right then.

        With `forward` the server gets it and no answer comes back; without it the server never gets it.
        """
        with self._lock:
            self._cut_at, self._forwards = [what] * times, forward

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuse:
                    client.close()
                    continue
                pair = (client, self._connect())
                with self._lock:
                    self._pairs.add(pair)
                for backwards in (False, True):
                    threading.Thread(target=self._forward, args=(pair, backwards), daemon=True).start()

    def _forward(self, pair: tuple[socket.socket, socket.socket], backwards: bool) -> None:
        source, target = reversed(pair) if backwards else pair
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._flows.wait()
                stop = not backwards and self._is_the_moment(data)
                if stop:
                    # The answer finds nobody: the client's side is closed before the server hears it.
                    pair[0].close()
                if self._forwards or not stop:
                    target.sendall(data)
                if stop:
                    self.cuts += 1
                    break
        with self._lock:
            self._pairs.discard(pair)
        if not backwards or pair[0].fileno() != -1:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_WR)

    def _is_the_moment(self, data: bytes) -> bool:
        with self._lock:
            if self._cut_at and self._cut_at[0] in data:
                self._cut_at.pop()
                return True
        return False

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self.cuts += 1
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def before_database(database_url: str) -> Proxy:
    """In front of the database's socket, wherever that is."""
    with psycopg.connect(database_url) as conn:
        host, port = conn.info.host, conn.info.port

    def connect() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        made = socket.socket(socket.AF_UNIX)
        made.connect(f"{host}/.s.PGSQL.{port}")
        return made

    return Proxy(connect)


def through(proxy: Proxy, database_url: str) -> str:
    """The URL of the database behind the proxy."""
    place = urlsplit(database_url)
    user = f"{place.username}@" if place.username else ""
    return f"postgresql://{user}127.0.0.1:{proxy.port}{place.path}?sslmode=disable&gssencmode=disable"
