"""The process context of OTEP 4719: which service this process is, where profilers outside of it look for that.

A mapping of memory with the name ``OTEL_CTX`` holds a header, and behind it the resource as protobuf
(``opentelemetry.proto.processcontext.v1development.ProcessContext``). A reader that may read the process's memory, such
as OpenTelemetry's eBPF profiler, finds it by ``/proc/<pid>/maps``. Linux only; format version 2.

The mapping is never inherited by a forked child, which publishes its own. It is made by libc, and no object of Python's
stands for it: one that did would unmap in the child whatever has taken that place there.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from typing import TYPE_CHECKING

from causal_otel._internal import faults, process
from causal_otel.export.attributes import field
from causal_otel.export.encoder import encoded_resource

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

__all__ = ["ProcessContext", "publish"]

_NAME = b"OTEL_CTX"
_VERSION = 2
_HEADER = struct.Struct("=8sIIQQ")
"""Signature, version, size of the payload, when it was published by CLOCK_BOOTTIME in nanoseconds, its address."""
_AT = 16
"""Where in the header the time stands. It is written last, and 0 while anything else is changed."""

_PROT_READ_WRITE = 3
_MAP_PRIVATE, _MAP_ANONYMOUS = 2, 32
_MADV_DONTFORK = 10
_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_NOEXEC_SEAL = 1, 2, 8
_PR_SET_VMA, _PR_SET_VMA_ANON_NAME = 0x53564D41, 0
"""Of Linux's own headers, alike on all its architectures that CPython supports but alpha, mips and parisc."""


class ProcessContext:
    """What this process has published, until it is withdrawn.

    Args:
        resource: what the process is; secrets have been taken out of it.

    Raises:
        OSError: there is no memory to be had, or no way to give it a name.
    """

    def __init__(self, resource: Resource) -> None:
        self._payload = field(b"\x0a", encoded_resource(resource))
        self._libc = _Libc()
        self._begin()
        process.at_fork(in_child=self._again)

    def _begin(self) -> None:
        size = _HEADER.size + len(self._payload)
        self._size = size + -size % os.sysconf("SC_PAGE_SIZE")
        self._address = self._libc.mapping(self._size, self._payload)

    def _again(self) -> None:
        """In a forked child, where the mapping is not: publish another one, unless it was withdrawn."""
        if self._address:
            self._address = 0
            self._begin()

    def withdraw(self) -> None:
        """The process says no more which service it is."""
        address, self._address = self._address, 0
        if address:
            self._libc.unmap(address, self._size)


class _Libc:
    """The functions of libc that are needed. ``ctypes`` is imported here: it takes some milliseconds."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes = ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        pointer, size, number, long = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_ulong
        self._mmap, self._munmap = libc.mmap, libc.munmap
        self._madvise, self._prctl = libc.madvise, libc.prctl
        self._mmap.argtypes = (pointer, size, number, number, number, ctypes.c_long)
        self._mmap.restype = pointer
        self._munmap.argtypes = (pointer, size)
        self._madvise.argtypes = (pointer, size, number)
        self._prctl.argtypes = (number, long, pointer, size, ctypes.c_char_p)

    def mapping(self, size: int, payload: bytes) -> int:
        """Make the mapping and publish; returns its address.

        Raises:
            OSError: it cannot be, and nothing is published.
        """
        file = _memory_file(size)
        flags = _MAP_PRIVATE if file >= 0 else _MAP_PRIVATE | _MAP_ANONYMOUS
        address = self._mmap(None, size, _PROT_READ_WRITE, flags, file, 0)
        if file >= 0:
            os.close(file)
        if address in (None, self._ctypes.c_void_p(-1).value):
            raise OSError(self._ctypes.get_errno(), "mmap")
        if self._madvise(address, size, _MADV_DONTFORK):
            return self._failed("madvise", address, size)
        start = address + _HEADER.size
        self._ctypes.memmove(start, payload, len(payload))
        self._ctypes.memmove(address, _HEADER.pack(_NAME, _VERSION, len(payload), 0, start), _HEADER.size)
        # Before and after each of these calls the GIL is given away and taken. Its mutex is the memory barrier.
        published = time.clock_gettime_ns(time.CLOCK_BOOTTIME).to_bytes(8, sys.byteorder)
        self._ctypes.memmove(address + _AT, published, len(published))
        named = self._prctl(_PR_SET_VMA, _PR_SET_VMA_ANON_NAME, address, size, _NAME) == 0
        if file < 0 and not named:
            return self._failed("prctl", address, size)
        return int(address)

    def _failed(self, call: str, address: int, size: int) -> int:
        number = self._ctypes.get_errno()
        self.unmap(address, size)
        raise OSError(number, call)

    def unmap(self, address: int, size: int) -> None:
        """Give the mapping back."""
        self._munmap(address, size)


def _memory_file(size: int) -> int:
    """A file in memory, whose name the mapping has; -1: the system does not allow one."""
    flags = _MFD_CLOEXEC | _MFD_ALLOW_SEALING
    for wanted in (flags | _MFD_NOEXEC_SEAL, flags):  # the first is of Linux 6.3
        try:
            file = os.memfd_create(_NAME.decode(), wanted)
        except OSError:
            continue
        try:
            os.ftruncate(file, size)
        except OSError:
            os.close(file)
            break
        return file
    return -1


def publish(resource: Resource) -> ProcessContext | None:
    """Say which service this process is; None: it cannot be said here. Never raises."""
    if sys.platform != "linux":
        return None
    try:
        return ProcessContext(resource)
    except (OSError, ImportError, AttributeError):  # forbidden, or Python without ctypes or memfd_create
        return None
    except Exception:
        faults.report("profiling: process context")
        return None
