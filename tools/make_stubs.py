"""Generate type stubs for Fabric's protobuf messages from their descriptors.

``hyperledger-fabric-protos`` says that it is typed (``py.typed``) but ships no stubs, so every message is ``Any`` or an
error to a strict type checker. This script imports each ``*_pb2`` module, renames its descriptor to where the module
really lives (``peer/proposal.proto`` becomes ``fabric_protos/peer/proposal.proto``) and hands all of them to
mypy-protobuf's two generators.

Run it after changing the version of ``hyperledger-fabric-protos``::

    python tools/make_stubs.py          # rewrites stubs/fabric_protos
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import fabric_protos
from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor import FileDescriptor

STUBS = Path(__file__).resolve().parent.parent / "stubs"
GENERATORS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def modules() -> dict[str, FileDescriptor]:
    """Descriptor of every ``*_pb2`` module of the package, by its proto file's name."""
    found = {}
    for info in pkgutil.walk_packages(fabric_protos.__path__, "fabric_protos."):
        if info.name.endswith("_pb2"):
            descriptor = importlib.import_module(info.name).DESCRIPTOR
            found[descriptor.name] = descriptor
    return found


def renamed(descriptor: FileDescriptor, ours: set[str]) -> descriptor_pb2.FileDescriptorProto:
    """The descriptor with its own name and its imports under ``fabric_protos/``."""
    proto = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(proto)
    proto.name = f"fabric_protos/{proto.name}"
    for index, name in enumerate(proto.dependency):
        if name in ours:
            proto.dependency[index] = f"fabric_protos/{name}"
    return proto


def foreign(files: dict[str, FileDescriptor]) -> dict[str, FileDescriptor]:
    """What the package's files import from elsewhere (Google's well-known types)."""
    found: dict[str, FileDescriptor] = {}

    def visit(descriptor: FileDescriptor) -> None:
        for dependency in descriptor.dependencies:
            if dependency.name not in files and dependency.name not in found:
                visit(dependency)
                found[dependency.name] = dependency

    for descriptor in files.values():
        visit(descriptor)
    return found


def ordered(files: dict[str, FileDescriptor]) -> list[FileDescriptor]:
    """Files after everything that they import, as a code generator expects them."""
    done: dict[str, FileDescriptor] = {}

    def visit(descriptor: FileDescriptor) -> None:
        for dependency in descriptor.dependencies:
            if dependency.name in files:
                visit(dependency)
        done.setdefault(descriptor.name, descriptor)

    for name in sorted(files):
        visit(files[name])
    return list(done.values())


def unshadowed(stub: str) -> str:
    """The stub with ``collections.abc`` under a name that no field has (``collections`` is one of the lifecycle's)."""
    return stub.replace("import collections.abc\n", "import collections.abc as _abc\n").replace(
        "collections.abc.", "_abc."
    )


def request() -> plugin_pb2.CodeGeneratorRequest:
    files = modules()
    message = plugin_pb2.CodeGeneratorRequest()
    for descriptor in foreign(files).values():
        descriptor.CopyToProto(message.proto_file.add())
    for descriptor in ordered(files):
        message.proto_file.append(renamed(descriptor, set(files)))
        message.file_to_generate.append(f"fabric_protos/{descriptor.name}")
    return message


def main() -> None:
    target = STUBS / "fabric_protos"
    shutil.rmtree(target, ignore_errors=True)
    payload = request().SerializeToString()
    for generator in GENERATORS:
        program = Path(sys.executable).with_name(generator)
        answer = subprocess.run([program], input=payload, stdout=subprocess.PIPE, check=True).stdout
        response = plugin_pb2.CodeGeneratorResponse.FromString(answer)
        if response.error:
            raise SystemExit(f"{generator}: {response.error}")
        for file in response.file:
            path = STUBS / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(unshadowed(file.content))
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        (folder / "__init__.pyi").touch()


if __name__ == "__main__":
    main()
