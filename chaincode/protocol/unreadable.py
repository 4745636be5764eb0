"""What the library raises for certificates and lists that it can't make sense of, some of it only when one looks in."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""Not all of these are a ValueError: a certificate of version 61 is not."""
