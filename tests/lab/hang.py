#!/usr/bin/env python3
"""Holds one thread of a process still, as one that hangs would be, until standard input ends: hang.py PID THREAD-NAME. Needs root."""
import ctypes
import os
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def thread_of(pid, name):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as comm:
            if comm.read().strip() == name:
                return int(thread)
    sys.exit(f"no thread {name} in {pid}")


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")


held = thread_of(sys.argv[1], sys.argv[2])
ptrace(PTRACE_SEIZE, held)
ptrace(PTRACE_INTERRUPT, held)
os.waitpid(held, 0x40000000)  # __WALL
print("held", flush=True)
sys.stdin.read()
