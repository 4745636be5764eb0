"""Indexes that a chaincode brings for its rich queries, on peers that keep their state in CouchDB.

A folder holds one file per index in CouchDB's JSON, `NAME.json`, and those of a private data collection in a folder of
the collection's name, `COLLECTION/NAME.json`. A package carries them under `META-INF/statedb/couchdb`, where every
peer looks; peers with LevelDB pass over them.
"""

from __future__ import annotations

import json
from pathlib import Path

from .errors import PackageInvalid

_PLACE = "META-INF/statedb/couchdb"


def read_indexes(folder: Path) -> dict[str, bytes]:
    """Read a folder's indexes: content by path in a package.

    Raises:
        PackageInvalid: if there is none, or one is no index definition.

    """
    own = {f"{_PLACE}/indexes/{path.name}": path for path in folder.glob("*.json")}
    private = {f"{_PLACE}/collections/{path.parent.name}/indexes/{path.name}": path for path in folder.glob("*/*.json")}
    if not own and not private:
        raise PackageInvalid(f"{folder} holds no index; put CouchDB's definitions there as NAME.json")
    return {place: _checked(path) for place, path in sorted({**own, **private}.items())}


def _checked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        fields = json.loads(content)["index"]["fields"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PackageInvalid(f'{path} defines no index: {{"index": {{"fields": [...]}}, …}} is needed') from error
    if not isinstance(fields, list) or not fields:
        raise PackageInvalid(f"{path}: index.fields has to be a list of fields")
    return content
