"""`goldengrain wallet`: the identities of a home folder."""

from __future__ import annotations

from typing import Any

import click
from cryptography import x509

from goldengrain.chaincode.protocol.accounts import account_of
from goldengrain.cli.command import Group, command
from goldengrain.cli.output import emit, table
from goldengrain.cli.session import home_of
from goldengrain.gateway.wallet import Wallet


@click.group(cls=Group)
def wallet() -> None:
    """Look at the identities that can act (`--as LABEL`)."""


@command(wallet, name="list", example="goldengrain wallet list")
def list_identities(context: click.Context) -> None:
    """List the identities in the wallet."""
    store = Wallet(home_of(context).wallet)
    entries = [_described(store, label) for label in store.labels()]
    rows = [
        (one["label"], one["msp_id"], one["role"], one["not_after"][:10], "encrypted" if one["encrypted"] else "plain")
        for one in entries
    ]
    emit(context, {"identities": entries}, [table("Wallet", ("label", "MSP id", "role", "valid until", "key"), rows)])


@command(wallet, example="goldengrain wallet show User1@org1.example.com")
@click.argument("label")
def show(context: click.Context, label: str) -> None:
    """Show one identity: its certificate and its account in the market. The private key stays where it is."""
    one = _described(Wallet(home_of(context).wallet), label)
    emit(context, one, [table(label, ("", ""), one.items())])


def _described(store: Wallet, label: str) -> dict[str, Any]:
    identity = store.identity(label)
    certificate = identity.x509
    units = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    return {
        "label": label,
        "msp_id": identity.msp_id,
        "account": account_of(identity.msp_id, identity.certificate).hex(),
        "encrypted": store.is_encrypted(label),
        "role": ", ".join(str(unit.value) for unit in units),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": format(certificate.serial_number, "x"),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }
