"""Pack a folder of recorded Fabric traffic into archives that travel with the checkout.

    python tools/pack_recordings.py FOLDER

Each sub-folder becomes one `tests/data/fabric/NAME.tar.xz`, the same bytes for the same content. What can be derived
from the rest (decoded JSON) is left out; gzipped files are packed unzipped, since xz does that better.
"""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import tarfile
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "tests" / "data" / "fabric"
PARTS = ("bft", "blocks", "chaincode", "crypto", "gateway", "genesis", "lifecycle")
DERIVED = ("decoded.json.gz", "blocks.json.gz", ".block.json")
LIMIT = 1024 * 1024


def packed(folder: Path) -> bytes:
    """A folder as tar.xz; times, owners and modes are left out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.name.endswith(DERIVED):
                continue
            content, name = path.read_bytes(), path.relative_to(folder).as_posix()
            if name.endswith(".gz") and not name.endswith(".tar.gz"):
                content, name = gzip.decompress(content), name.removesuffix(".gz")
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main(folder: Path) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        content = packed(folder / part)
        if len(content) > LIMIT:
            sys.exit(f"{part}: {len(content)} bytes packed, more than {LIMIT}: split it")
        (TARGET / f"{part}.tar.xz").write_bytes(content)
        print(f"{part}: {len(content)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/pack_recordings.py FOLDER")
    main(Path(sys.argv[1]))
