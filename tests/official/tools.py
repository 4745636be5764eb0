"""Other languages' programs of these tests, built once a session from the folders here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import need

HERE = Path(__file__).resolve().parent


def go_program(source: Path, folder: Path) -> list[str]:
    """Build a Go program."""
    need("go", shutil.which("go"), "install Go 1.24 or newer")
    program = folder / "program"
    subprocess.run(["go", "build", "-o", program, "."], cwd=source, check=True)
    return [str(program)]


def node_program(source: Path, folder: Path, main: str) -> list[str]:
    """Install what a Node program needs, from its lock file."""
    need("node", shutil.which("node") and shutil.which("npm"), "install Node.js 20 or newer")
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)
    return ["node", str(folder / main)]


def java_program(source: Path, folder: Path, main: str) -> list[str]:
    """Build a Java program with Maven."""
    found = shutil.which("javac") and shutil.which("mvn")
    need("java", found, "install a JDK 17 or newer and Maven (Debian: default-jdk-headless, maven)")
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target"))
    goals = ["package", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    subprocess.run(["mvn", "-q", "-B", *goals], cwd=folder, check=True)
    return ["java", "-cp", f"{folder}/target/classes:{folder}/target/dependency/*", main]
