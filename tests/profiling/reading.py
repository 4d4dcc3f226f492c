"""A reader of process contexts, from outside of the process, as OTEP 4719 describes one."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

__all__ = ["Published", "read"]

_NAMES = ("[anon_shmem:OTEL_CTX]", "[anon:OTEL_CTX]", "/memfd:OTEL_CTX")


class Published(NamedTuple):
    """What a process says."""

    version: int
    at: int
    attributes: dict[str, Any]


def read(pid: int | str) -> list[Published]:
    """All process contexts of a process; there must not be more than one."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, _, _, _, _, *name = line.split(maxsplit=5)
        if name and name[0].startswith(_NAMES):
            found.append(_at(pid, int(place.partition("-")[0], 16)))
    return found


def _at(pid: int | str, address: int) -> Published:
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        signature, version, size, at, payload = struct.unpack("=8sIIQQ", memory.read(32))
        assert signature == b"OTEL_CTX"
        memory.seek(payload)
        content = memory.read(size)
    # ProcessContext: field 1 is the resource. opentelemetry-proto has no class for it yet.
    assert content[:1] == b"\x0a"
    length, shift, at_byte = 0, 0, 1
    while True:
        length |= (content[at_byte] & 0x7F) << shift
        shift += 7
        at_byte += 1
        if content[at_byte - 1] < 0x80:
            break
    assert at_byte + length == len(content)
    resource = Resource.FromString(content[at_byte:])
    return Published(version, at, {each.key: each.value.string_value for each in resource.attributes})
