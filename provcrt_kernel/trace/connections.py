"""Connections that stay open from one span to the next: no call names their other end again, so their traffic is compared.

Promise: a connection that was idle in a span is silent; one over which bytes went, or which ended, is an endpoint of that
span. TCP only: nothing counts the datagrams of a socket. Sources: sock_diag(7), linux/inet_diag.h, linux/tcp.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from provcrt_kernel.trace.span import Endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from provcrt_kernel.trace.network import Network

_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2
_INFO = 2  # the attribute that holds a struct tcp_info
_OPEN = sum(1 << state for state in (1, 4, 5, 8))  # established, or one side has said that it is done
_HEAD = struct.Struct("=IHHII")
_ROW = struct.Struct("=BBBB 2s2s 16s 16s 3I 5I")  # struct inet_diag_msg
_BYTES = struct.Struct("=QQ")  # acknowledged and received, within struct tcp_info
_BYTES_AT = 120
_ROOM = 1 << 16


class _Held(NamedTuple):
    peer: Endpoint
    pid: int
    traffic: tuple[int, ...]


class Connections:
    """What the traced processes held open to others when the span began."""

    def __init__(self) -> None:
        self._peers: set[tuple[str, int]] = set()
        self._held: dict[int, _Held] = {}

    def begin(self, pids: Collection[int]) -> None:
        """Remember how much went over each connection that an earlier span has made."""
        self._held = self._scan(pids) if self._peers else {}
        self._peers = {(held.peer.address, held.peer.port) for held in self._held.values()}

    def end(self, network: Network, pids: Collection[int]) -> None:
        """Report the connections that were used, and remember whom the span has met."""
        now = self._scan(pids) if self._held else {}
        for inode, before in self._held.items():
            after = now.get(inode)
            if after is None or after.traffic != before.traffic:
                network.reach(before.peer, before.pid, pids)
        self._peers.update(
            (peer.address, peer.port)
            for peer in network.met()
            if peer.family.startswith("inet") and not peer.own
        )

    def _scan(self, pids: Iterable[int]) -> dict[int, _Held]:
        try:
            rows = {inode: (peer, traffic) for peer, inode, traffic in _connections()}
        except OSError:
            return {}
        rows = {inode: row for inode, row in rows.items() if (row[0].address, row[0].port) in self._peers}
        found: dict[int, _Held] = {}
        for pid in pids if rows else ():
            for inode in _sockets(pid) & rows.keys():
                found.setdefault(inode, _Held(rows[inode][0], pid, rows[inode][1]))
        return found


def _connections() -> Iterator[tuple[Endpoint, int, tuple[int, ...]]]:
    """Yield the other end, the inode and the traffic of each connection of this machine."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as line:
        for family in (socket.AF_INET, socket.AF_INET6):
            wish = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _OPEN)
            line.send(_HEAD.pack(_HEAD.size + len(wish), _BY_FAMILY, _DUMP, 0, 0) + wish)
            over = False
            while not over:
                data, at = line.recv(_ROOM), 0
                while at < len(data):
                    size, kind, *_ = _HEAD.unpack_from(data, at)
                    if kind in (_DONE, _ERROR):
                        over = True
                        break
                    yield _row(data[at + _HEAD.size : at + size])
                    at += size + 3 & ~3


def _row(data: bytes) -> tuple[Endpoint, int, tuple[int, ...]]:
    family, _, _, _, _, port, _, raw, _, _, _, _, unread, unsent, _, inode = _ROW.unpack_from(data)
    inet = family == socket.AF_INET
    address = str(ipaddress.IPv4Address(raw[:4]) if inet else ipaddress.IPv6Address(raw))
    traffic: tuple[int, ...] = (unread, unsent)
    at = _ROW.size
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if kind == _INFO and size >= 4 + _BYTES_AT + _BYTES.size:
            sent, received = _BYTES.unpack_from(data, at + 4 + _BYTES_AT)
            traffic = (sent + unsent, received - unread)  # what was written and read, whatever is on its way
        at += max(size + 3 & ~3, 4)
    return Endpoint("inet" if inet else "inet6", address, int.from_bytes(port, "big"), False), inode, traffic


def _sockets(pid: int) -> set[int]:
    folder = f"/proc/{pid}/fd"
    found: set[int] = set()
    try:
        numbers = os.listdir(folder)
    except OSError:
        return found
    for number in numbers:
        try:
            target = os.readlink(f"{folder}/{number}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found
