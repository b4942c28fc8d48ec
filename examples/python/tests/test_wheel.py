"""The wheel: what is in it, what its tag says, and that it is all one needs."""

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import unittest
import zipfile
from pathlib import Path
from typing import List

import support  # noqa: F401
from support import LIBRARY, PYTHON, ROOT
from support.case import Case
from support.etcd import temporary


def run(command: List[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return str(done.stdout)


class Wheel(Case):
    folder: str
    wheel: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = temporary()
        cls.wheel = cls.build("one")

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.folder)

    @classmethod
    def build(cls, name: str) -> Path:
        said = run([sys.executable, str(PYTHON / "build_wheel.py"), "--library", str(LIBRARY), "--output", f"{cls.folder}/{name}"])
        return Path(said.strip())

    def test_its_tag_is_the_real_floor(self) -> None:
        if not shutil.which("objdump"):
            self.fail("no objdump found: install binutils")
        versions = set(re.findall(r"\bGLIBC_(\d+)\.(\d+)", run(["objdump", "-T", str(LIBRARY)])))
        major, minor = max((int(major), int(minor)) for major, minor in versions)
        machine = os.uname().machine
        self.assertEqual(self.wheel.name, f"etcd_leader-1.0.0-py3-none-manylinux_{major}_{minor}_{machine}.whl")

    def test_its_record_is_right(self) -> None:
        with zipfile.ZipFile(self.wheel) as wheel:
            self.assertIsNone(wheel.testzip())
            names = wheel.namelist()
            record = "etcd_leader-1.0.0.dist-info/RECORD"
            rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
            self.assertEqual([row[0] for row in rows], names)
            for name, digest, size in rows[:-1]:
                data = wheel.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                self.assertEqual((digest, size), (f"sha256={expected}", str(len(data))))
            self.assertEqual(rows[-1], [record, "", ""])
            sources = {str(source.relative_to(PYTHON)) for source in (PYTHON / "etcd_leader").rglob("*.py")}
            self.assertEqual(
                set(names) - sources,
                {"etcd_leader/py.typed", "etcd_leader/libetcd_leader.so.1"}
                | {f"etcd_leader-1.0.0.dist-info/{name}" for name in ("LICENSE", "THIRD-PARTY.txt", "METADATA", "WHEEL", "entry_points.txt", "RECORD")},
            )
            self.assertEqual(wheel.read("etcd_leader/libetcd_leader.so.1"), LIBRARY.read_bytes())
            self.assertEqual(wheel.read("etcd_leader-1.0.0.dist-info/LICENSE"), (ROOT / "LICENSE").read_bytes())
            self.assertIn("Root-Is-Purelib: false\n", wheel.read("etcd_leader-1.0.0.dist-info/WHEEL").decode())

    def test_what_it_says_of_itself_leads_nowhere_in_the_repository(self) -> None:
        with zipfile.ZipFile(self.wheel) as wheel:
            said = wheel.read("etcd_leader-1.0.0.dist-info/METADATA").decode()
        self.assertIn("# etcd_leader\n", said)
        # The index shows it alone: a link to a file leads to nothing there.
        links = re.findall(r"\]\(([^)\s]+)", said)
        self.assertEqual([link for link in links if not link.startswith("https://")], [])

    def test_the_way_to_install_that_the_readme_shows(self) -> None:
        """With the system's own Python, if that takes packages in environments only (PEP 668)."""
        managed = list(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED"))
        readme = (PYTHON / "README.md").read_text()
        build, *lines = re.search(r"^```sh\n(make wheel.*?)```", readme, re.DOTALL | re.MULTILINE)[1].splitlines()  # type: ignore[index]
        self.assertEqual(re.sub(r"_\d+_\d+_\w+", "", build.split()[-1]), "target/python/etcd_leader-1.0.0-py3-none-manylinux.whl")
        folder = Path(self.folder, "readme")
        (folder / "target/python").mkdir(parents=True)
        shutil.copy(self.wheel, folder / "target/python")
        # No variable of this process, and no network.
        clean = {"HOME": self.folder, "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        path = "/usr/bin:/bin" if managed else f"{Path(sys.executable).parent}:/usr/bin:/bin"
        said = run(["sh", "-e", "-c", "\n".join(lines)], env={**clean, "PATH": path}, cwd=str(folder))
        self.assertEqual(said.splitlines()[-1], "1.0.0")

    def test_pyinstaller_takes_the_library_along_in_one_file(self) -> None:
        """With what the wheel brings alone: no option, no hook of the user's."""
        environment = f"{self.folder}/bundled"
        # PyInstaller is in the environment of the tests, and the wheel goes beside it.
        run([sys.executable, "-m", "venv", "--system-site-packages", environment])
        python, packages = f"{environment}/bin/python", next(path for path in sys.path if path.endswith("site-packages"))
        clean = {"PATH": f"{environment}/bin:/usr/bin:/bin", "HOME": self.folder, "PYTHONPATH": packages}
        run([python, "-m", "pip", "install", "--no-index", "--quiet", "--disable-pip-version-check", str(self.wheel)], env=clean)
        program = Path(self.folder, "bundled.py")
        program.write_text(
            "import sys, etcd_leader\n"
            "with etcd_leader.Election(*sys.argv[1:], 'bundled').lead() as term:\n"
            "    print(etcd_leader.load_library().path, term.token > 0)\n"
        )
        command = [python, "-m", "PyInstaller", "--onefile", "--log-level=ERROR", "--distpath", f"{self.folder}/one-file", str(program)]
        run(command, env=clean, cwd=self.folder)
        path, leads = run([f"{self.folder}/one-file/bundled", self.etcd.url, self.key], env={"HOME": self.folder}).split()
        self.assertEqual((Path(path).name, leads), ("libetcd_leader.so.1", "True"))
        self.assertNotIn(environment, path)

    def test_a_zipapp_says_what_is_to_be_done(self) -> None:
        application = Path(self.folder, "application")
        shutil.copytree(PYTHON / "etcd_leader", application / "etcd_leader")
        (application / "__main__.py").write_text("import etcd_leader\nprint(etcd_leader.load_library().version)\n")
        run([sys.executable, "-m", "zipapp", str(application)])
        command = [sys.executable, f"{application}.pyz"]
        clean = {"PATH": "/usr/bin:/bin", "HOME": self.folder}
        done = subprocess.run(command, capture_output=True, text=True, env=clean)
        self.assertIn("runs from an archive", done.stderr)
        self.assertIn("ETCD_LEADER_LIBRARY", done.stderr)
        self.assertNotIn("make lib", done.stderr)
        self.assertEqual(run(command, env={**clean, "ETCD_LEADER_LIBRARY": str(LIBRARY)}).strip(), "1.0.0")

    def test_the_same_inputs_make_the_same_bytes(self) -> None:
        self.assertEqual(self.build("two").read_bytes(), self.wheel.read_bytes())

    def test_what_is_no_library_is_refused(self) -> None:
        for path, said in ((__file__, "is no ELF file"), ("/no/such/file", "build it with `make lib`")):
            done = subprocess.run(
                [sys.executable, str(PYTHON / "build_wheel.py"), "--library", path, "--output", self.folder],
                capture_output=True,
                text=True,
            )
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stderr + done.stdout)

    def test_installed_in_a_fresh_environment_it_elects(self) -> None:
        """Offline, and with nothing on PATH: no Rust, no compiler."""
        environment = f"{self.folder}/fresh"
        run([sys.executable, "-m", "venv", environment])
        python = f"{environment}/bin/python"
        # No variable of this process, and no network: --no-index asks nobody.
        clean = {"PATH": f"{environment}/bin", "HOME": self.folder, "PIP_CONFIG_FILE": "/dev/null"}
        run([python, "-m", "pip", "install", "--no-index", "--quiet", "--disable-pip-version-check", str(self.wheel)], env=clean, cwd=self.folder)
        code = f"""
import etcd_leader, os
with etcd_leader.Election({self.etcd.url!r}, {self.key!r}, "installed").lead() as term:
    print(etcd_leader.load_library().path, etcd_leader.__file__, term.token > 0)
"""
        path, package, leads = run([python, "-I", "-c", code], env=clean, cwd=self.folder).split()
        self.assertTrue(path.startswith(f"{environment}/lib") and package.startswith(f"{environment}/lib"), (path, package))
        self.assertEqual((Path(path).name, leads), ("libetcd_leader.so.1", "True"))
        files = run([python, "-m", "pip", "show", "--files", "etcd-leader"], env=clean, cwd=self.folder)
        self.assertIn("License: MIT", files)
        run([python, "-m", "pip", "uninstall", "--yes", "etcd-leader"], env=clean, cwd=self.folder)
        self.assertFalse(Path(package).exists())


if __name__ == "__main__":
    unittest.main()
