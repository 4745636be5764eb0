"""What a process that runs models gives up before it sees one: core dumps, files to write, programs, the network.

Network and programs are taken away twice where the kernel allows it: by a network namespace of its own, and by a
seccomp filter that answers the calls for sockets, new programs, tracing and io_uring with EPERM. Inside Gramine and in
some containers neither is to be had; limits and an interface without file names stand without them.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 4, 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32 = 0x40000000
"""Numbers from here on are x86's calls in another guise."""
_NUMBER, _ARCHITECTURE = 0, 4
"""Where seccomp's data hold the call's number and the architecture."""

REFUSED: dict[str, tuple[int, tuple[int, ...]]] = {
    # fork, vfork, execve, ptrace, socket … getsockopt without shutdown, process_vm_readv/writev, execveat, io_uring_*
    "x86_64": (0xC000003E, (41, 42, 43, 44, 45, 46, 47, 49, 50, 53, 57, 58, 59, 101, 288, 310, 311, 322, 425, 426)),
    "aarch64": (0xC00000B7, (117, 198, 199, 200, 201, 202, 203, 206, 207, 211, 212, 221, 242, 270, 271, 281, 425, 426)),
}
"""AUDIT_ARCH and numbers of the system calls that are refused, from the kernel's tables."""


def confine() -> None:
    """Give up what can be given up; nothing is raised where the system refuses it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    libc.unshare(_NEW_USER | _NEW_NETWORK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _filter(libc)


def forbid_writing() -> None:
    """Give up writing to files; torch, while it is imported, still needs a temporary one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _filter(libc: ctypes.CDLL) -> None:
    if platform.machine() not in REFUSED or libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return
    program = filter_program(*REFUSED[platform.machine()])
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc.prctl(_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(head, len(head)), 0, 0)


def filter_program(architecture: int, refused: tuple[int, ...]) -> bytes:
    """Return a BPF program that refuses system calls by number, and every call of another architecture."""
    count = len(refused)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, count + 3, architecture),  # another architecture: to the refusal
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, count + 1, 0, _X32),
        *((_EQUAL, count - index, 0, number) for index, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
