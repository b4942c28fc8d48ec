"""libetcd_leader: what this package says of it is what the header says; it is found, or refused in words."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Dict, List, Optional, Type

import support  # noqa: F401
from etcd_leader import CODES, Election, LibraryError, __version__, load_library
from etcd_leader import _library as library
from support import LIBRARY, PYTHON, ROOT
from support.case import Case
from support.etcd import temporary

HEADER = (ROOT / "include" / "etcd_leader.h").read_text()


def compiler() -> str:
    found = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not found:
        raise AssertionError("no C compiler found: install gcc, or set CC")
    return found


class Header(unittest.TestCase):
    def test_every_code_is_declared_and_has_its_number(self) -> None:
        declared = re.findall(r"^#define (EL_\w+) (-\d+|0)$", HEADER, re.MULTILINE)
        codes = {name: int(value) for name, value in declared}
        self.assertEqual(list(codes), list(CODES))
        loaded = load_library()
        self.assertEqual({name: loaded.code(status) for name, status in codes.items()}, {name: name for name in codes})
        self.assertEqual(codes["EL_OK"], library.EL_OK)

    def test_the_documents_have_the_same_codes(self) -> None:
        rows = re.findall(r"^\| `(EL_\w+)` \|", (ROOT / "core/docs/errors.md").read_text(), re.MULTILINE)
        self.assertEqual(["EL_OK", *rows], list(CODES))

    def test_every_other_constant_has_its_number(self) -> None:
        declared = {name: int(value) for name, value in re.findall(r"^#define (EL_\w+) (\d+)$", HEADER, re.MULTILINE)}
        del declared["EL_OK"]
        ours = {f"EL_API_{name.upper()}": value for name, value in library.EL_API.items()}
        ours.update({f"EL_ON_STORE_RESET_{name.upper()}": value for name, value in library.EL_ON_STORE_RESET.items()})
        ours.update({name: value for name, value in vars(library).items() if name.startswith("EL_EVENT_")})
        ours["EL_ABI_VERSION"] = library.ABI_VERSION
        self.assertEqual(ours, declared)

    def test_every_function_is_declared(self) -> None:
        declared = re.findall(r"^[a-z]\w*(?: \w+)* \*?(el_\w+)\(", HEADER, re.MULTILINE)
        # Of the ways to take events and to ask for something it needs one each.
        needless = {"el_config_settings", "el_next", "el_poll", "el_fd", "el_is_leader"}
        self.assertEqual(sorted({*library._FUNCTIONS, *needless}), sorted(declared))

    def test_the_structures_are_laid_out_as_a_c_compiler_does_it(self) -> None:
        structures: Dict[str, Type[ctypes.Structure]] = {"el_event": library.ElEvent, "el_config": library.ElConfig, "el_effective": library.ElEffective}
        program = ["#include <etcd_leader.h>", "#include <stdio.h>", "int main(void) {"]
        expected: List[str] = []
        for name, structure in structures.items():
            program.append(f'printf("{name} %zu\\n", sizeof({name}));')
            expected.append(f"{name} {ctypes.sizeof(structure)}")
            for field in structure._fields_:
                offset = f"offsetof({name}, {field[0]})"
                program.append(f'printf("{field[0]} %zu %zu\\n", {offset}, sizeof((({name} *)0)->{field[0]}));')
                place = getattr(structure, field[0])
                expected.append(f"{field[0]} {place.offset} {place.size}")
            body = re.search(rf"typedef struct {name} {{(.*?)^}}", HEADER, re.DOTALL | re.MULTILINE)
            assert body is not None
            fields = re.findall(r"(\w+);$", re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL), re.MULTILINE)
            self.assertEqual([field[0] for field in structure._fields_], fields)
        folder = temporary()
        self.addCleanup(shutil.rmtree, folder)
        Path(folder, "layout.c").write_text("\n".join([*program, "return 0; }"]))
        binary = f"{folder}/layout"
        subprocess.run([compiler(), f"-I{ROOT}/include", f"{folder}/layout.c", "-o", binary], check=True)
        said = subprocess.run([binary], check=True, capture_output=True, text=True).stdout
        self.assertEqual(said.splitlines(), expected)

    def test_it_has_the_version_of_the_package(self) -> None:
        self.assertEqual(load_library().version, __version__)


class Found(Case):
    def setUp(self) -> None:
        super().setUp()
        self.folder = temporary()
        self.addCleanup(shutil.rmtree, self.folder)

    def run_python(self, code: str, **variables: Optional[str]) -> str:
        """What a program says in whose environment only this names a library."""
        clean = {name: value for name, value in os.environ.items() if name not in ("ETCD_LEADER_LIBRARY", "LD_LIBRARY_PATH")}
        given = {name: value for name, value in {"PYTHONPATH": str(PYTHON), **variables}.items() if value is not None}
        env = {**clean, **given}
        done = subprocess.run([sys.executable, "-c", code], env=env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() + done.stderr.strip()

    where = "from etcd_leader import load_library; print(load_library().path)"

    def test_by_the_variable(self) -> None:
        self.assertEqual(self.run_python(self.where, ETCD_LEADER_LIBRARY=str(LIBRARY)), str(LIBRARY))

    def test_by_the_argument_before_the_variable(self) -> None:
        code = f"from etcd_leader import load_library; print(load_library({str(LIBRARY)!r}).path)"
        self.assertEqual(self.run_python(code, ETCD_LEADER_LIBRARY="/no/such/file"), str(LIBRARY))
        election = Election(self.etcd.url, self.key, "one", library=LIBRARY)
        with election.lead():
            self.assertEqual(self.entries(), ["one"])

    def test_beside_the_package(self) -> None:
        for name in ("libetcd_leader.so", "libetcd_leader.so.1"):
            shutil.copytree(PYTHON / "etcd_leader", f"{self.folder}/etcd_leader", dirs_exist_ok=True)
            shutil.copy(LIBRARY, f"{self.folder}/etcd_leader/{name}")
            self.assertEqual(self.run_python(self.where, PYTHONPATH=self.folder), f"{self.folder}/etcd_leader/{name}")

    def elsewhere(self) -> str:
        """A copy of the package outside of the repository."""
        shutil.copytree(PYTHON / "etcd_leader", f"{self.folder}/elsewhere/etcd_leader")
        return f"{self.folder}/elsewhere"

    def test_by_the_soname(self) -> None:
        shutil.copy(LIBRARY, f"{self.folder}/libetcd_leader.so.1")
        found = self.run_python(self.where, PYTHONPATH=self.elsewhere(), LD_LIBRARY_PATH=self.folder)
        self.assertEqual(found, "libetcd_leader.so.1")

    def test_in_the_repository(self) -> None:
        top = Path(self.folder, "repository")
        for folder in ("examples/python", "ffi", "target/release"):
            (top / folder).mkdir(parents=True)
        shutil.copytree(PYTHON / "etcd_leader", top / "examples/python/etcd_leader")
        shutil.copy(LIBRARY, top / library.BUILT)
        python_path = str(top / "examples/python")
        self.assertIn("libetcd_leader.so.1 cannot be loaded", self.run_python(self.where, PYTHONPATH=python_path))
        shutil.copy(ROOT / "ffi/Cargo.toml", top / "ffi")
        self.assertEqual(self.run_python(self.where, PYTHONPATH=python_path), str((top / library.BUILT).resolve()))

    def test_nowhere(self) -> None:
        said = self.run_python(self.where, PYTHONPATH=self.elsewhere())
        self.assertIn("LibraryError: EL_INVALID: libetcd_leader.so.1 cannot be loaded", said)
        self.assertIn("build it with `make lib`, and give its path as library= or in ETCD_LEADER_LIBRARY", said)

    def refused(self, path: str, *parts: str) -> None:
        election = Election(self.etcd.url, self.key, "one", library=path)
        for use in (election.start, lambda: election.lead(lambda term: None), lambda: load_library(path)):
            with self.assertRaises(LibraryError) as caught:
                use()
            self.assertIsInstance(caught.exception, ImportError)
            for part in (path, *parts):
                self.assertIn(part, caught.exception.message)
        self.assertFalse(election.is_running or election.is_leader)

    def test_a_named_one_that_is_absent_is_not_replaced_by_another(self) -> None:
        self.refused(f"{self.folder}/gone.so", "library is", "there is no such file")
        said = self.run_python(self.where, ETCD_LEADER_LIBRARY="/no/such/file")
        self.assertIn("ETCD_LEADER_LIBRARY is '/no/such/file', and there is no such file", said)

    def test_a_bare_name_is_a_file_of_this_folder(self) -> None:
        shutil.copy(LIBRARY, f"{self.folder}/mine.so")
        code = "from etcd_leader import load_library; print(load_library('mine.so').path)"
        self.assertEqual(self.run_python(code), f"{self.folder}/mine.so")
        self.assertEqual(self.run_python(self.where, ETCD_LEADER_LIBRARY="mine.so"), f"{self.folder}/mine.so")

    def test_what_is_no_library_is_refused(self) -> None:
        path = Path(self.folder, "text.so")
        path.write_text("not a library")
        self.refused(str(path), "cannot be loaded")
        libc = next(Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines() if "/libc.so.6" in line or "/libc-2" in line)
        self.refused(str(libc), "is not libetcd_leader", "it has no el_start")

    def test_one_of_another_interface_is_refused(self) -> None:
        source, path = Path(self.folder, "old.c"), f"{self.folder}/old.so"
        functions = (f"int {name}(void) {{ return 0; }}" for name in library._FUNCTIONS)
        source.write_text("\n".join(functions))
        subprocess.run([compiler(), "-shared", "-fPIC", str(source), "-o", path], check=True)
        self.refused(path, "has the interface 0, and this package needs 1 or later", "make lib")


if __name__ == "__main__":
    unittest.main()
