"""A filter of system calls for the sandbox: denies those that hold uncounted memory, or invite attacks."""

from __future__ import annotations

import os
import platform
import struct

# Numbers on x86-64 and on 64-bit ARM, None where there is no such call.
# fmt: off
DENIED = {
    # Memory that is not counted for any process.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "io_setup": (206, 0), "io_uring_setup": (425, 425),
    "vmsplice": (278, 75), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262), "mlock": (149, 228), "mlock2": (325, 284), "mlockall": (151, 230),
    # Keys of the kernel.
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # Looking into and steering other processes.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "move_pages": (279, 239), "migrate_pages": (256, 238),
    # New mounts and namespaces.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442), "unshare": (272, 97),
    "setns": (308, 268),
    # Interfaces with a history of holes.
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
}
# fmt: on
# Of sockets, only those inside one machine are allowed, which asyncio needs.
LOCAL = {"socket": (41, 198), "socketpair": (53, 199)}
AF_UNIX = 1
SEND_BUFFER = 7  # an option of sockets: larger than what the watchdog charges for one
# By machine: its name for the kernel's audit, its column above, the numbers of clone, clone3 and setsockopt.
MACHINES = {"x86_64": (0xC000003E, 0, 56, 435, 54), "aarch64": (0xC00000B7, 1, 220, 435, 208)}
NEW_USER_NAMESPACE = 0x10000000  # a flag of clone: in a namespace of its own, a process is root
LOAD, IF_EQUAL, IF_ABOVE, IF_BITS, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
# How a call ends. REFUSE: it fails with EPERM. UNKNOWN: with ENOSYS, at which libraries take clone instead of
# clone3, whose flags a filter cannot see.
ENDS = {"ALLOW": 0x7FFF0000, "REFUSE": 0x00050001, "UNKNOWN": 0x00050026, "KILL": 0x80000000}


def seccomp_filter() -> bytes | None:
    """Return the filter as a program of the kernel's BPF machine, or None for a processor it does not know.

    Source: the layout of `struct seccomp_data` and `struct sock_filter` in seccomp(2).
    """
    if platform.machine() not in MACHINES:
        return None
    audit, column, clone, clone3, setsockopt = MACHINES[platform.machine()]
    denied, local = ([numbers[column] for numbers in calls.values()] for calls in (DENIED, LOCAL))
    # An instruction, its operand, and where to go on when it holds or does not: None is the next one.
    program = [
        (LOAD, 4, None, None),
        (IF_EQUAL, audit, None, "KILL"),
        (LOAD, 0, None, None),
        # x32 calls have numbers of their own above this bit.
        (IF_ABOVE, 0x3FFFFFFF, "REFUSE", None),
        *((IF_EQUAL, number, "REFUSE", None) for number in denied if number is not None),
        (IF_EQUAL, clone3, "UNKNOWN", None),
        *((IF_EQUAL, number, "FAMILY", None) for number in local),
        (IF_EQUAL, setsockopt, "OPTION", None),
        (IF_EQUAL, clone, None, "ALLOW"),
        (LOAD, 16, None, None),
        (IF_BITS, NEW_USER_NAMESPACE, "REFUSE", "ALLOW"),
    ]
    places = {"FAMILY": len(program), "OPTION": len(program) + 2}
    program += [
        (LOAD, 16, None, None),  # the first argument
        (IF_EQUAL, AF_UNIX, "ALLOW", "REFUSE"),
        (LOAD, 32, None, None),  # the third
        (IF_EQUAL, SEND_BUFFER, "REFUSE", "ALLOW"),
    ]
    places |= {name: len(program) + place for place, name in enumerate(ENDS)}
    steps = [
        (code, *(0 if end is None else places[end] - place - 1 for end in ends), operand)
        for place, (code, operand, *ends) in enumerate(program)
    ]
    steps += [(RETURN, 0, 0, value) for value in ENDS.values()]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def open_filter() -> int | None:
    """Return a descriptor to read the filter from, which the caller closes, or None without a filter."""
    program = seccomp_filter()
    if program is None:
        return None
    reading, writing = os.pipe()
    os.write(writing, program)
    os.close(writing)
    return reading
