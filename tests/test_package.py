"""What a user installs: one top-level package, with the data of its demo."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_one_package_and_the_demo(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    unwanted = shutil.ignore_patterns(".*", "tests", "demo-out", "build", "*.egg-info")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "-w", str(tmp_path), str(tree)],
        check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("spikefab-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names} == {"spikefab", "spikefab-0.1.0.dist-info"}
    modules = {n.split("/")[1] for n in names if n.startswith("spikefab/")}
    assert modules == {
        "__init__.py", "api.py", "bench", "boards", "cli", "compiler", "emulator", "examples",
        "rtl",
    }  # fmt: skip
    assert "spikefab/examples/digits/digits.nir" in names
    assert not [n for n in names if "/tests/" in n]


def test_no_folder_of_modules_is_left_out_of_the_wheel() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {"spikefab" if f == "." else "spikefab." + f.replace("/", ".")
               for f in listed["package-dir"].values()}  # fmt: skip
    assert folders == set(listed["packages"])
    for top in ("bench", "boards", "cli", "compiler", "emulator", "examples", "rtl"):
        for package in (ROOT / top).rglob("__init__.py"):
            name = "spikefab." + ".".join(package.parent.relative_to(ROOT).parts)
            assert name in listed["packages"]
