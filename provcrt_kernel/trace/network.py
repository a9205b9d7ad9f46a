"""Addresses: who a span talks to, by which names, and whether that is one of its own.

Promise: a connection is `own` only when the socket that listens there is open in a traced process now; anything
unknown is somebody else's. A name is told only where a question to a name server bears it, or the hosts file gives it to
the address. Sources: sockaddr(3type), proc_net(5), hosts(5), RFC 1035.
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

HOSTS = b"/etc/hosts"
_NAME_SERVER = 53
_LONGEST_NAME = 253


class Network:
    """Whom the processes of one span talk to."""

    def __init__(self) -> None:
        self._met: dict[Endpoint, tuple[set[int], dict[str, None]]] = {}
        self._servers: dict[int, Endpoint] = {}  # the name server that a process spoke to last

    def reach(self, peer: Endpoint, pid: int, traced: Iterable[int], *, bound: bool = False) -> None:
        """Note that a process connects, sends or, with `bound`, listens.

        Who listens there takes milliseconds to find out; once it was somebody else, that is all there is to know.
        """
        if peer not in self._met:
            peer = owned(peer, traced, bound=bound)
        self._met.setdefault(peer, (set(), {}))[0].add(pid)
        if peer.port == _NAME_SERVER and not bound:
            self._servers[pid] = peer

    def asks(self, pid: int, message: bytes) -> None:
        """Note what a process sends over a socket: it may be a question to the name server that it spoke to last."""
        server = self._servers.get(pid)
        name = asked(message) if server is not None else None
        if server is not None and name is not None:
            self._met[server][1][name] = None

    def met(self) -> Iterable[Endpoint]:
        """Return whom the span has met so far, without names."""
        return self._met.keys()

    def awaits(self, pid: int) -> bool:
        """Say whether a process may be about to ask a name server."""
        return pid in self._servers

    def close(self, hosts: bool) -> tuple[Endpoint, ...]:
        """Return all, in the order in which they were met; `hosts` says whether the hosts file was read."""
        known = _hosts() if hosts else {}
        return tuple(
            Endpoint(
                peer.family, peer.address, peer.port, peer.own,
                names=tuple(dict.fromkeys((*names, *known.get(peer.address, ())))), pids=tuple(sorted(pids)),
            )
            for peer, (pids, names) in self._met.items()
        )  # fmt: skip


def spelled(peer: Endpoint) -> str:
    """Return an endpoint for people: its address and port, and the names that are known."""
    place = f"{peer.address}:{peer.port}"
    return f"{place} ({', '.join(peer.names)})" if peer.names else place


def asked(message: bytes) -> str | None:
    """Return the host name that a message asks a name server for (RFC 1035, section 4.1); None where it is no question."""
    if len(message) < 17:
        return None
    _, flags, questions, answers, authorities, _ = struct.unpack_from(">6H", message)
    if flags & 0xF800 or questions != 1 or answers or authorities:
        return None
    labels, at = [], 12
    while at < len(message) and (size := message[at]):
        if size > 63:
            return None
        labels.append(message[at + 1 : at + 1 + size])
        at += 1 + size
    name = b".".join(labels)
    if at + 5 > len(message) or not 0 < len(name) <= _LONGEST_NAME or not all(33 <= c < 127 for c in name):
        return None
    return name.decode()


def _hosts() -> dict[str, list[str]]:
    """Return which names the hosts file gives to an address."""
    found: dict[str, list[str]] = {}
    try:
        with open(HOSTS, errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for line in lines:
        words = line.partition("#")[0].split()
        found.setdefault(words[0] if words else "", []).extend(words[1:])
    return found


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
