"""Whether the head of a Ray cluster answers at an address, told within seconds."""

from __future__ import annotations

import os
import socket

WAIT = 5.0  # seconds
# How every connection of HTTP/2 begins, with empty settings; gRPC, which Ray's head speaks, answers with its own.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4


def answers(address: str, wait: float = WAIT) -> bool:
    """Whether something that speaks gRPC listens at "host:port"; ValueError where that is no address.

    Only the connection is tried where RAY_USE_TLS is set, for the rest is encrypted.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"the address of a Ray cluster is HOST:PORT, or auto, not {address!r}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=wait) as line:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return True
            line.sendall(HELLO)
            head = b""
            while len(head) < 9 and (more := line.recv(9 - len(head))):
                head += more
            return len(head) == 9 and head[3] == SETTINGS
    except (OSError, OverflowError):  # no such host, no such port, refused, silent
        return False
