"""The external builder with which a peer runs chaincode-as-a-service: three small programs that a peer calls.

A peer hands an installed package to `detect` (is it ours?), `build` (keep what is needed) and `release` (tell the peer
what it has to know). For a chaincode that runs as a server, all of that is its `connection.json`; nothing is compiled.
The calling convention is Fabric's: https://hyperledger-fabric.readthedocs.io/en/latest/cc_launcher.html
"""

from __future__ import annotations

from pathlib import Path

NAME = "goldengrain-ccaas"

_SCRIPTS = {
    # detect SOURCE METADATA: 0 if the package says that it is a chaincode server's
    "detect": """#!/bin/sh
exec grep -Eq '"type" *: *"ccaas"' "$2/metadata.json"
""",
    # build SOURCE METADATA OUTPUT
    "build": """#!/bin/sh
set -e
if [ ! -f "$1/connection.json" ]; then
    echo "the package holds no connection.json" >&2
    exit 1
fi
cp "$1/connection.json" "$3/connection.json"
if [ -d "$1/META-INF" ]; then
    cp -R "$1/META-INF" "$3/META-INF"
fi
""",
    # release BUILD OUTPUT
    "release": """#!/bin/sh
set -e
mkdir -p "$2/chaincode/server"
cp "$1/connection.json" "$2/chaincode/server/connection.json"
if [ -d "$1/META-INF/statedb" ]; then
    cp -R "$1/META-INF/statedb" "$2/statedb"
fi
""",
}


def write_builder(folder: Path) -> Path:
    """Write the builder's programs into `folder/bin` and return `folder`, which a peer's configuration names."""
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, script in _SCRIPTS.items():
        path = programs / name
        path.write_text(script)
        path.chmod(0o755)
    return folder
