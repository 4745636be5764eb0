"""The content store: where ciphertexts, envelopes, test sets and collateral lie, under the SHA-256 of their bytes.

One per organisation: a folder (:class:`FolderStore`), a bucket of an S3-compatible service (``s3.S3Store``), or a
server of ours, reached by :class:`remote.RemoteStore` and run by ``server``. All of them are a
:class:`ContentStore`; ``locations.open_store`` makes one from its URL.

Example::

    store = FolderStore("store/org1")
    blob = store.put_file("model.sealed")
    store.fetch(blob.digest, "copy.sealed")          # verified before it gets its name
    with store.open(blob.digest) as reader:          # the last chunk comes only if all of them are right
        for chunk in reader: …
"""

from goldengrain.gateway.store.base import CHUNK, Blob, ContentStore, Digest, Entry, Progress, VerifiedReader
from goldengrain.gateway.store.folder import FolderStore

__all__ = ["CHUNK", "Blob", "ContentStore", "Digest", "Entry", "FolderStore", "Progress", "VerifiedReader"]
