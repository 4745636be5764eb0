"""The SGX extension of a PCK certificate, in DER (Intel's "SGX PCK Certificate and CRL Profile", section 1.3).

Only what that one extension needs: sequences of (object identifier, value).
"""

from __future__ import annotations

from collections.abc import Sequence

OID = "1.2.840.113741.1.13.1"
_BOOLEAN, _INTEGER, _OCTETS, _OBJECT, _ENUMERATED, _SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x0A, 0x30
_SHORT_LENGTH = 0x80


def sgx_extension(
    *,
    ppid: bytes,
    cpu_svn: bytes,
    pce_svn: int,
    pce_id: bytes,
    fmspc: bytes,
    platform_instance: bytes,
) -> bytes:
    """Encode the extension. Bytes: PPID and CPUSVN 16 (one per component), PCEID 2, FMSPC 6, platform instance 16."""
    components = [_entry(f"{OID}.2.{index}", _integer(svn)) for index, svn in enumerate(cpu_svn, start=1)]
    tcb = [*components, _entry(f"{OID}.2.17", _integer(pce_svn)), _entry(f"{OID}.2.18", _octets(cpu_svn))]
    # dynamic platform, cached keys, SMT: none of them, since `QuotePolicy.strict` refuses each
    configuration = [_entry(f"{OID}.7.{index}", _boolean(False)) for index in (1, 2, 3)]
    return _sequence(
        [
            _entry(f"{OID}.1", _octets(ppid)),
            _entry(f"{OID}.2", _sequence(tcb)),
            _entry(f"{OID}.3", _octets(pce_id)),
            _entry(f"{OID}.4", _octets(fmspc)),
            _entry(f"{OID}.5", _tagged(_ENUMERATED, b"\x01")),
            _entry(f"{OID}.6", _octets(platform_instance)),
            _entry(f"{OID}.7", _sequence(configuration)),
        ]
    )


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < _SHORT_LENGTH:
        return bytes([tag, length]) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _SHORT_LENGTH | len(encoded)]) + encoded + content


def _sequence(items: Sequence[bytes]) -> bytes:
    return _tagged(_SEQUENCE, b"".join(items))


def _entry(oid: str, value: bytes) -> bytes:
    return _sequence([_object(oid), value])


def _octets(value: bytes) -> bytes:
    return _tagged(_OCTETS, value)


def _boolean(value: bool) -> bytes:
    return _tagged(_BOOLEAN, b"\xff" if value else b"\x00")


def _integer(value: int) -> bytes:
    return _tagged(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _object(oid: str) -> bytes:
    first, second, *rest = (int(arc) for arc in oid.split("."))
    return _tagged(_OBJECT, b"".join(map(_arc, [40 * first + second, *rest])))


def _arc(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
