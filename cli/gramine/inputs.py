"""What an enclave is made of on this machine: interpreter, standard library, packages, shared libraries, our code.

Only what runs inside is taken: of this project the enclave and the protocol, without the tools for training models;
of the standard library nothing for building, testing or graphics; no compiled bytecode, whose bytes differ from run
to run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from goldengrain.cli.errors import ExtraMissing, FileRefused
from goldengrain.enclave.measurement import measured_files

EXTRAS = ("enclave", "gramine")
_OMITTED = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages"}
_OMITTED |= {"dist-packages", "pydoc_data", "distutils"}
_HOST_ONLY = {"grpcio", "click", "rich", "pyyaml", "h2", "boto3"}
_FOR_SCREENS_AND_TESTS = ("_tkinter", "_curses", "_test", "_ctypes_test", "_xxtest", "xxlimited")
_INSTALLERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_FOUND = re.compile(r"=> (/\S+) \(")
_GRAMINES = re.compile(r"(libc|libm|libdl|libpthread|librt|libutil|ld-linux-x86-64)[.-]")


def inputs() -> dict[str, Path]:
    """All measured files by their path in the build's folder. Raises ExtraMissing where a package is not installed."""
    files = {"app/python/bin/python3": Path(sys.executable).resolve()}
    files |= standard_library()
    for name in sorted(distributions(EXTRAS)):
        files |= distribution_files(name)
    for name, path in measured_files().items():
        files[f"app/packages/{_module_path(name)}"] = path
    files |= shared_libraries(files.values())
    return files


def standard_library() -> dict[str, Path]:
    """The interpreter's own modules."""
    folder = Path(sysconfig.get_path("stdlib"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return {f"app/python/lib/{version}/{path.relative_to(folder).as_posix()}": path for path in _code(folder)}


def distributions(extras: Iterable[str]) -> set[str]:
    """Names of the installed distributions that these extras of ours need, and those that they need in turn."""
    found: set[str] = set()
    waiting = [(("goldengrain"), tuple(extras))]
    while waiting:
        name, wanted = waiting.pop()
        for requirement in _requirements(name, wanted):
            if requirement.name.lower() not in found | _HOST_ONLY:
                found.add(requirement.name.lower())
                waiting.append((requirement.name, tuple(requirement.extras)))
    return found


def distribution_files(name: str) -> dict[str, Path]:
    """A distribution's files by their path in the build's folder."""
    try:
        listed = metadata.files(name) or []
    except metadata.PackageNotFoundError as error:
        raise ExtraMissing(f"{name} is not installed: pip install 'goldengrain[{','.join(EXTRAS)}]'") from error
    files = {}
    for one in listed:
        path = Path(str(one.locate()))
        left_out = one.name in _INSTALLERS or one.suffix == ".pyc" or _OMITTED.intersection(one.parts)
        if ".." not in one.parts and not left_out and path.is_file():
            files[f"app/packages/{one.as_posix()}"] = path
    return files


def shared_libraries(files: Iterable[Path]) -> dict[str, Path]:
    """The system's shared libraries that these files are linked with, but for those that Gramine brings."""
    linked = [str(path) for path in files if path.suffix == ".so" or ".so." in path.name or path.name == "python3"]
    try:
        listed = subprocess.run(["ldd", sys.executable, *linked], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        raise FileRefused(f"ldd, which lists shared libraries, can't be run: {error.strerror}") from error
    own = {Path(name).name for name in linked}
    found = {Path(one) for one in _FOUND.findall(listed)}
    return {
        f"app/lib/{path.name}": path.resolve()
        for path in sorted(found)
        if path.name not in own and not _GRAMINES.match(path.name)
    }


def _requirements(name: str, extras: tuple[str, ...]) -> Iterator[Requirement]:
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError as error:
        raise ExtraMissing(f"{name} is not installed: pip install 'goldengrain[{','.join(EXTRAS)}]'") from error
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _module_path(name: str) -> str:
    """`goldengrain.enclave/keys.py` → `goldengrain/enclave/keys.py`."""
    package, _, path = name.partition("/")
    return f"{package.replace('.', '/')}/{path}"


def _code(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        left_out = path.suffix == ".pyc" or path.name.startswith(_FOR_SCREENS_AND_TESTS) or _OMITTED.intersection(parts)
        if path.is_file() and not left_out:
            yield path
