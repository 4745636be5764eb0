"""Who can act for an organisation here: its Admin where that key is in the folder, else any of its users."""

from __future__ import annotations

from goldengrain.gateway.identity import Credentials, credentials_from_msp

from .home import Home
from .pki import identity_names
from .topology import Organization


def own_identity(home: Home, organization: Organization) -> Credentials | None:
    """The credentials of an organisation's Admin, or of another user whose key is here; None where there is none.

    Raises:
        PassphraseMissing, PassphraseWrong: if the key is encrypted and cannot be opened.

    """
    names = sorted(identity_names(home, organization), key=lambda name: (name != "Admin", name))
    for name in names:
        folder = home.user(organization, name) / "msp"
        if (folder / "keystore").exists():
            return credentials_from_msp(folder, organization.msp_id)
    return None
