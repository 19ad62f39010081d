# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a node off the network for some seconds, from a pod there that shares its network.

The text of this file is fed to the Python of some container, followed by its options, so it stands alone. It takes no
program of the node or the image: it speaks to nftables by netlink. What arrives at and leaves the node's device is
dropped, and nothing else is changed: no address, no route, no rule of somebody else's. The table belongs to the
process, and the kernel removes it with the process, however that ends.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import sys
import time
from typing import Any

__all__ = ["addresses", "batch", "chosen", "cut", "main"]

TABLE = "celeryops_drill"
# linux/netlink.h, linux/netfilter/nfnetlink.h and nf_tables.h
NETFILTER, REQUEST, ACK, CREATE = 12, 0x1, 0x4, 0x400
BEGIN, END, NFTABLES, NEW_TABLE, NEW_CHAIN = 0x10, 0x11, 10, 0, 3
NETDEV, OWNER, NESTED = 5, 0x2, 0x8000
INGRESS, EGRESS, DROP = 0, 1, 0


def attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def message(kind: int, flags: int, sequence: int, family: int, resource: int, body: bytes) -> bytes:
    payload = struct.pack("=BB", family, 0) + struct.pack(">H", resource) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | flags, sequence, 0) + payload


def batch(devices: list[str]) -> tuple[bytes, int]:
    """The messages that make the table with its chains, all or none of them; and how many answers there will be."""
    table = text(1, TABLE) + number(2, OWNER)
    parts = [message(BEGIN, 0, 0, 0, NFTABLES, b"")]
    parts.append(message(NFTABLES << 8 | NEW_TABLE, CREATE | ACK, 1, NETDEV, 0, table))
    for place, (device, hook) in enumerate((device, hook) for device in devices for hook in (INGRESS, EGRESS)):
        where = number(1, hook) + number(2, -500) + text(3, device)
        chain = text(1, TABLE) + text(3, f"chain{place}") + attribute(4 | NESTED, where)
        chain += number(5, DROP) + text(7, "filter")
        parts.append(message(NFTABLES << 8 | NEW_CHAIN, CREATE | ACK, 2 + place, NETDEV, 0, chain))
    parts.append(message(END, 0, 2 + 2 * len(devices), 0, NFTABLES, b""))
    return b"".join(parts), 1 + 2 * len(devices)


def cut(devices: list[str]) -> socket.socket:
    """What holds the cut: closing it ends it. Raises OSError where the kernel refuses."""
    held = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
    held.bind((0, 0))
    held.settimeout(5)
    request, answers = batch(devices)
    held.send(request)
    while answers > 0:
        data = held.recv(65536)
        while data:
            size, kind = struct.unpack_from("=IH", data)
            # An error message, which also says that there was none
            if kind == 2:
                (code,) = struct.unpack_from("=i", data, 16)
                if code:
                    held.close()
                    raise OSError(-code, os.strerror(-code))
                answers -= 1
            data = data[(size + 3) & ~3 :]
    return held


def addresses() -> dict[str, list[str]]:
    """The addresses of each device, of both families."""
    found: dict[str, list[str]] = {}
    held = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    held.bind((0, 0))
    # RTM_GETADDR for every device
    held.send(struct.pack("=IHHII", 24, 22, REQUEST | 0x300, 1, 0) + struct.pack("=BBBBI", 0, 0, 0, 0, 0))
    done = False
    while not done:
        data = held.recv(65536)
        while data and not done:
            size, kind = struct.unpack_from("=IH", data)
            done = kind == 3
            if kind == 20:
                family, _prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", data, 16)
                rest = data[24:size]
                while rest:
                    length, what = struct.unpack_from("=HH", rest)
                    # IFA_LOCAL, or IFA_ADDRESS where IPv6 knows no other
                    if what == 2 or (what == 1 and family == socket.AF_INET6):
                        address = socket.inet_ntop(family, rest[4:length])
                        found.setdefault(socket.if_indextoname(index), []).append(address)
                    rest = rest[(length + 3) & ~3 :]
            data = data[(size + 3) & ~3 :]
    held.close()
    return found


def chosen(there: dict[str, list[str]], wanted: list[str]) -> list[str]:
    """The devices that carry the node's addresses; never the loopback."""
    return sorted(name for name, known in there.items() if name != "lo" and set(known) & set(wanted))


def main(options: dict[str, Any]) -> None:
    """Options: addresses of the node, seconds, and for how many seconds more this stays after that."""
    there = addresses()
    devices = chosen(there, options["addresses"])
    if not devices:
        raise SystemExit(f"none of {options['addresses']} is an address of this network's devices: {there}")
    # Whatever keeps this process from its own end: the kernel ends it, and with it the cut.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(options["seconds"]) + 5)
    try:
        held = cut(devices)
    except OSError as error:
        words = "nftables for devices, with tables that belong to a process (Linux 5.16)"
        known = error.errno in (errno.EOPNOTSUPP, errno.ENOENT, errno.EINVAL, errno.EPROTONOSUPPORT)
        raise SystemExit(f"{error}: {'this kernel lacks ' + words if known else 'not allowed'}") from error
    try:
        began = time.time()
        # The node is off for as long as this lasts.
        time.sleep(options["seconds"])
    finally:
        held.close()
    json.dump({"at": began, "ended": time.time(), "devices": devices}, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()
    # A server of k3s that was alone starts anew, containerd with it. It forgets what ended while it was away, with its
    # output; of what still runs it gets both.
    signal.alarm(int(options["stay"]))
    signal.pause()
