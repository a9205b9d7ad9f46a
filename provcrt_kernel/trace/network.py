"""Addresses: who a span talks to, and whether that is one of its own.

Promise: a connection is `own` only when the socket that listens there is open in a traced process now; anything
unknown is somebody else's. Sources: sockaddr(3type), proc_net(5).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from typing import TYPE_CHECKING

from provcrt_kernel.trace.span import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable


def parse(raw: bytes) -> Endpoint | None:
    """Return the endpoint that a ``struct sockaddr`` names; None for families that leave the machine alone."""
    if len(raw) < 2:
        return None
    (family,) = struct.unpack_from("=H", raw)
    if family == socket.AF_INET and len(raw) >= 8:
        (port,) = struct.unpack_from(">H", raw, 2)
        return Endpoint("inet", str(ipaddress.IPv4Address(raw[4:8])), port, False)
    if family == socket.AF_INET6 and len(raw) >= 24:
        (port,) = struct.unpack_from(">H", raw, 2)
        return Endpoint("inet6", str(ipaddress.IPv6Address(raw[8:24])), port, False)
    if family == socket.AF_UNIX and len(raw) > 2:
        name = raw[2:]
        text = "@" + os.fsdecode(name[1:]) if name[:1] == b"\0" else os.fsdecode(name.split(b"\0", 1)[0])
        return Endpoint("unix", text, 0, False)
    if family in (socket.AF_UNSPEC, socket.AF_NETLINK, socket.AF_UNIX):
        return None
    return Endpoint("other", str(family), 0, False)


def owned(peer: Endpoint, pids: Iterable[int], *, bound: bool) -> Endpoint:
    """Return the endpoint with `own` set: on this machine only, and if a traced process listens there."""
    if peer.family in ("inet", "inet6"):
        address = ipaddress.ip_address(peer.address)
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_loopback:
            return peer
        inodes = _inet_listeners(peer.port)
    elif peer.family == "unix":
        inodes = _unix_listeners(peer.address)
    else:
        return peer
    if bound or (inodes and _open_in(pids, inodes)):
        return Endpoint(peer.family, peer.address, peer.port, True)
    return peer


def _inet_listeners(port: int) -> set[bytes]:
    found: set[bytes] = set()
    for table, states in (("tcp", (b"0A",)), ("tcp6", (b"0A",)), ("udp", (b"07",)), ("udp6", (b"07",))):
        for fields in _rows(f"/proc/net/{table}"):
            if len(fields) > 9 and fields[3] in states and int(fields[1].rpartition(b":")[2], 16) == port:
                found.add(b"socket:[" + fields[9] + b"]")
    return found


def _unix_listeners(name: str) -> set[bytes]:
    raw = os.fsencode(name)
    return {b"socket:[" + row[6] + b"]" for row in _rows("/proc/net/unix") if len(row) > 7 and row[7] == raw}


def _rows(path: str) -> list[list[bytes]]:
    try:
        with open(path, "rb") as file:
            return [line.split() for line in file.read().splitlines()[1:]]
    except OSError:
        return []


def _open_in(pids: Iterable[int], inodes: set[bytes]) -> bool:
    for pid in pids:
        folder = b"/proc/%d/fd" % pid
        try:
            numbers = os.listdir(folder)
        except OSError:
            continue
        for number in numbers:
            try:
                if os.readlink(folder + b"/" + number) in inodes:
                    return True
            except OSError:
                continue
    return False
