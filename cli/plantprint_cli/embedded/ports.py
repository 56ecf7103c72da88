"""Loopback ports that servers of an instance can listen on."""

import random
import socket

from plantprint_cli.embedded.errors import InstanceError

_PORTS = range(20_000, 32_000)


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: a port that only old connections linger on is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_free_port(taken: set[int]) -> int:
    """Below the ports that the kernel gives to outgoing connections, which could take ours while a child restarts."""
    candidates = [port for port in _PORTS if port not in taken]
    random.shuffle(candidates)
    for port in candidates:
        if is_port_free(port):
            return port
    raise InstanceError(f"No free port on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop - 1}.")
