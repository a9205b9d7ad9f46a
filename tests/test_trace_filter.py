"""The filter, executed by an interpreter of classic BPF: every call of every architecture gets the right answer."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from provcrt_kernel.trace import bpf, calls
from provcrt_kernel.trace.calls import AT_EMPTY_PATH, AT_FDCWD, CLONE_THREAD, Machine, machine

REFUSE = bpf.ERRNO | errno.ENOSYS


def verdict(program: bytes, number: int, audit: int, arguments: tuple[int, ...] = (), issued: int = 0) -> int:
    """Run a filter on one call (bpf(4), seccomp(2))."""
    arguments += (0,) * (6 - len(arguments))
    data = struct.pack("=IIQ6Q", number, audit, issued, *arguments)
    lines = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    for _ in range(len(lines)):
        code, yes, no, constant = lines[at]
        at += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif code == 0x05:
            at += constant
        else:
            test = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: accumulator & constant,
            }
            at += yes if test[code] else no
    raise AssertionError("the filter does not end")


@pytest.fixture(params=["x86_64", "aarch64"])
def tables(request: pytest.FixtureRequest) -> Machine:
    found = machine(request.param)
    assert found is not None
    return found


def test_every_number(tables: Machine) -> None:
    program = bpf.program(tables)
    assert len(program) // 8 < 4096  # BPF_MAXINSNS
    for number in range(600):
        got = verdict(program, number, tables.audit, (0, 0, 0, 0, 1, 0))
        if number in tables.refused:
            assert got == REFUSE
        elif number in tables.calls and tables.calls[number].quiet is None:
            assert got == bpf.NOTIFY, tables.calls[number]
        elif number not in tables.calls:
            assert got == bpf.ALLOW, number


@pytest.mark.parametrize(
    ("name", "arguments", "seen"),
    [
        ("clone", (CLONE_THREAD | 0x100,), False),
        ("clone", (0x11,), False),
        ("clone", (0x20011,), True),
        ("clone", (0x211,), True),
        ("clone", (0x10000 | 0x200,), False),
        ("newfstatat", (3, 0, 0, AT_EMPTY_PATH), False),
        ("newfstatat", (AT_FDCWD, 0, 0, AT_EMPTY_PATH), True),
        ("newfstatat", (3, 0, 0, 0), True),
        ("statx", (3, 0, AT_EMPTY_PATH), False),
        ("statx", (3, 0, 0), True),
        ("sendto", (3, 0, 0, 0, 0), False),
        ("sendto", (3, 0, 0, 0, 1 << 40), True),
        ("sendto", (3, 0, 0, 0, 8), True),
        ("sendto", (3, 0, 100_000, calls.MSG_NOSIGNAL, 8), True),
        ("sendto", (3, 0, 512, calls.MSG_NOSIGNAL, 0), True),
        ("sendto", (3, 0, 513, calls.MSG_NOSIGNAL, 0), False),
        ("sendto", (3, 0, 512, 0, 0), False),
        ("getrandom", (0, 8, 1), False),
        ("getrandom", (0, 8, 0), True),
        ("getrandom", (0, 16, 1), True),
        ("mmap", (0, 0, 0, calls.MAP_ANONYMOUS | 2), False),
        ("mmap", (0, 0, 0, calls.MAP_DENYWRITE | 2), False),
        ("mmap", (0, 0, 0, 1), True),
    ],
)
def test_what_is_let_pass_by_its_arguments(
    tables: Machine, name: str, arguments: tuple[int, ...], seen: bool
) -> None:
    number = next(number for number, call in tables.calls.items() if call.name == name)
    assert verdict(bpf.program(tables), number, tables.audit, arguments) == (
        bpf.NOTIFY if seen else bpf.ALLOW
    )


def test_other_doors(tables: Machine) -> None:
    program = bpf.program(tables)
    foreign, numbers = tables.foreign
    assert all(verdict(program, number, foreign) == bpf.NOTIFY | bpf.FOREIGN for number in numbers)
    assert verdict(program, 1, foreign) == bpf.ALLOW
    assert verdict(program, 2, 0xDEAD) == bpf.ALLOW
    if tables.name == "x86_64":
        assert verdict(program, 0x40000000 | 257, tables.audit) == REFUSE


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def test_numbers_are_the_kernels(tables: Machine) -> None:
    header = HEADERS[tables.name]
    if not header.exists():
        pytest.skip("needs the kernel's headers")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    numbers = {{"fstatat": "newfstatat"}.get(name, name): int(number) for name, number in found}
    wrong = {
        call.name: (number, numbers[call.name])
        for number, call in tables.calls.items()
        if numbers.get(call.name, number) != number
    }
    assert not wrong
    assert sum(call.name in numbers for call in tables.calls.values()) > 50


def test_calls_from_the_page_pass_and_no_others(tables: Machine) -> None:
    page = 0x2B5A_1D3C_7000
    program = bpf.program(tables, unseen=page)
    for number, call in tables.calls.items():
        if call.quiet in (None, "empty_path"):
            here = verdict(program, number, tables.audit, issued=page + 0x11)
            assert here == (
                bpf.ALLOW if call.name in ("openat", "newfstatat", "getdents64") else bpf.NOTIFY
            ), call
            for elsewhere in (0, page - 1, page + bpf.PAGE, page + (1 << 32), page & 0xFFFFFFFF):
                assert verdict(program, number, tables.audit, issued=elsewhere) == bpf.NOTIFY, call
