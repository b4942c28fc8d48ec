#!/usr/bin/env python3
"""Makes a wheel of the package with libetcd_leader inside, for the machine that the library was built for.

    build_wheel.py [--library target/release/libetcd_leader.so] [--output target/python]

Prints where the wheel is. Its tag says which glibc it needs at least: the highest version of a symbol that the library asks
for. Nothing but the standard library is used, and the same inputs make the same bytes.
"""

import argparse
import base64
import ctypes
import hashlib
import re
import struct
import sys
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE = "etcd_leader"
SONAME = "libetcd_leader.so.1"
#: The folder in which PyInstaller finds its hook.
HOOKS = "__pyinstaller"

#: What the ELF header calls a machine, and what a wheel's tag does.
MACHINES = {62: "x86_64", 183: "aarch64"}
#: What every system with this C library has, by PEP 600.
NEEDED = re.compile(r"lib(c|m|dl|rt|pthread|gcc_s)\.so\.\d+|ld-linux-[\w-]+\.so\.\d+")
SHT_DYNAMIC, SHT_VERNEED, DT_NEEDED = 6, 0x6FFFFFFE, 1


class Elf:
    """As much of an ELF file of 64 bits, little-endian, as a wheel's tag takes."""

    def __init__(self, path: Path) -> None:
        self._bytes = path.read_bytes()
        if self._bytes[:6] != b"\x7fELF\x02\x01":
            raise SystemExit(f"{path} is no ELF file of 64 bits, little-endian; give the library that `make lib` builds")
        (self._machine,) = struct.unpack_from("<H", self._bytes, 18)
        (table,) = struct.unpack_from("<Q", self._bytes, 40)
        size, count = struct.unpack_from("<HH", self._bytes, 58)
        # Each: name, type, flags, address, offset, size, link, info, alignment, size of an entry.
        self._sections = [struct.unpack_from("<IIQQQQIIQQ", self._bytes, table + at * size) for at in range(count)]

    @property
    def machine(self) -> str:
        if self._machine not in MACHINES:
            raise SystemExit(f"the library is for the machine {self._machine} of ELF, and a tag is known for {MACHINES}")
        return MACHINES[self._machine]

    def _of(self, kind: int) -> Iterator[Tuple[int, int, int, int]]:
        """The sections of a kind: offset, size, info, and the offset of the texts that they name."""
        for _, type_, _, _, offset, size, link, info, _, _ in self._sections:
            if type_ == kind:
                yield offset, size, info, self._sections[link][4]

    def _text(self, at: int) -> str:
        return self._bytes[at : self._bytes.index(b"\0", at)].decode()

    def needed(self) -> Set[str]:
        """The libraries that it is linked with."""
        found = set()
        for offset, size, _, texts in self._of(SHT_DYNAMIC):
            for at in range(offset, offset + size, 16):
                tag, value = struct.unpack_from("<QQ", self._bytes, at)
                if tag == DT_NEEDED:
                    found.add(self._text(texts + value))
        return found

    def versions(self) -> Dict[str, Set[str]]:
        """The versions of symbols that it needs, by library."""
        found: Dict[str, Set[str]] = {}
        for at, _, count, texts in self._of(SHT_VERNEED):
            for _ in range(count):
                _, entries, file, first, following = struct.unpack_from("<HHIII", self._bytes, at)
                entry = at + first
                for _ in range(entries):
                    _, _, _, name, next_entry = struct.unpack_from("<IHHII", self._bytes, entry)
                    found.setdefault(self._text(texts + file), set()).add(self._text(texts + name))
                    entry += next_entry
                at += following
        return found

    def glibc_floor(self) -> Tuple[int, ...]:
        """The oldest glibc that has all of it."""
        names = {name for names in self.versions().values() for name in names}
        numbers = [name[len("GLIBC_") :] for name in names if re.fullmatch(r"GLIBC_\d+(\.\d+)+", name)]
        if not numbers:
            raise SystemExit("the library names no version of glibc: it was built for another C library, which this cannot tag")
        return max(tuple(int(part) for part in number.split(".")) for number in numbers)


def tag_of(library: Path) -> str:
    elf = Elf(library)
    foreign = [name for name in elf.needed() if not NEEDED.fullmatch(name)]
    if foreign:
        raise SystemExit(f"{library} needs {', '.join(foreign)}, which not every system has; link it in")
    major, minor = elf.glibc_floor()[:2]
    return f"py3-none-manylinux_{major}_{minor}_{elf.machine}"


def version_of(library: Path) -> str:
    """The package's version, which is to be the library's."""
    found = re.search(r'^__version__ = "(.+)"$', (HERE / PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    assert found is not None
    asked = ctypes.CDLL(str(library)).el_version
    asked.restype = ctypes.c_char_p
    if asked().decode() != found[1]:
        raise SystemExit(f"{library} is version {asked().decode()}, and the package is {found[1]}: build it anew, with `make lib`")
    return found[1]


def metadata(version: str) -> str:
    readme = (HERE / "README.md").read_text()
    return (
        f"Metadata-Version: 2.1\nName: etcd-leader\nVersion: {version}\n"
        "Summary: Leader election on etcd: many processes campaign for a key, one of them leads\n"
        "License: MIT\nRequires-Python: >=3.9\nClassifier: Operating System :: POSIX :: Linux\nClassifier: Typing :: Typed\n"
        f"Description-Content-Type: text/markdown\n\n{readme}"
    )


def contents(library: Path, version: str, tag: str) -> List[Tuple[str, bytes, int]]:
    """Names, bytes and modes, but for the record."""
    sources = [*sorted((HERE / PACKAGE).glob("*.py")), HERE / PACKAGE / "py.typed", *sorted((HERE / PACKAGE / HOOKS).glob("*.py"))]
    info = f"{PACKAGE}-{version}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: build_wheel.py\nRoot-Is-Purelib: false\nTag: {tag}\n"
    return [
        *((str(source.relative_to(HERE)), source.read_bytes(), 0o644) for source in sources),
        (f"{PACKAGE}/{SONAME}", library.read_bytes(), 0o755),
        (f"{info}/LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644),
        (f"{info}/THIRD-PARTY.txt", (ROOT / "ffi" / "THIRD-PARTY.txt").read_bytes(), 0o644),
        (f"{info}/METADATA", metadata(version).encode(), 0o644),
        (f"{info}/WHEEL", wheel.encode(), 0o644),
        (f"{info}/entry_points.txt", f"[pyinstaller40]\nhook-dirs = {PACKAGE}.{HOOKS}:get_hook_dirs\n".encode(), 0o644),
    ]


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def build(library: Path, output: Path) -> Path:
    tag, version = tag_of(library), version_of(library)
    files = contents(library, version, tag)
    record = f"{PACKAGE}-{version}.dist-info/RECORD"
    lines = [f"{name},{digest(data)},{len(data)}\n" for name, data, _ in files] + [f"{record},,\n"]
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{PACKAGE}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data, mode in [*files, (record, "".join(lines).encode(), 0o644)]:
            # The oldest time that a zip can say, so that the same inputs make the same bytes.
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = (0o100000 | mode) << 16
            wheel.writestr(member, data)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes a wheel with libetcd_leader inside.")
    parser.add_argument("--library", type=Path, default=ROOT / "target" / "release" / "libetcd_leader.so")
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "python")
    given = parser.parse_args()
    if not given.library.is_file():
        parser.error(f"there is no {given.library}: build it with `make lib`, or give --library")
    print(build(given.library.resolve(), given.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
