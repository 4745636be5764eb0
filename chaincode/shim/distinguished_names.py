"""A certificate's subject and issuer as text, in the order and spelling of Go's `pkix.Name`.

Go chaincode keeps such texts on the ledger (`cid.GetID`), so a contract that takes over such a ledger needs the same
bytes. Parts of one kind share a place, joined by `+`; the order is CN first, C last.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID

_ORDER = (
    (NameOID.SERIAL_NUMBER, "SERIALNUMBER"),
    (NameOID.COMMON_NAME, "CN"),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "OU"),
    (NameOID.ORGANIZATION_NAME, "O"),
    (NameOID.POSTAL_CODE, "POSTALCODE"),
    (NameOID.STREET_ADDRESS, "STREET"),
    (NameOID.LOCALITY_NAME, "L"),
    (NameOID.STATE_OR_PROVINCE_NAME, "ST"),
    (NameOID.COUNTRY_NAME, "C"),
)
_LAST_ONE_COUNTS = {NameOID.SERIAL_NUMBER, NameOID.COMMON_NAME}
_ESCAPED = frozenset(',+"\\<>;')


def text_of(name: x509.Name) -> str:
    """A distinguished name as text: `CN=alice,OU=client+OU=sales,O=Org1`. Parts that Go does not know are left out."""
    found = []
    for oid, short in _ORDER:
        values = [str(part.value) for part in name.get_attributes_for_oid(oid)]
        if oid in _LAST_ONE_COUNTS:
            values = [value for value in values[-1:] if value]
        if values:
            found.append("+".join(f"{short}={_escape(value)}" for value in values))
    return ",".join(found)


def _escape(value: str) -> str:
    last = len(value) - 1
    return "".join(
        f"\\{char}"
        if char in _ESCAPED or (char == " " and index in (0, last)) or (char == "#" and index == 0)
        else char
        for index, char in enumerate(value)
    )
