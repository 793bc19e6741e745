from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from polyview.storage.home import REPOSITORY


def test_the_standard_librarys_platform_is_what_the_repositorys_root_imports() -> None:
    script = "import platform; print(platform.system(), platform.__file__, sep='\\n')"
    for code in (script, f"import sys; sys.path.insert(0, ''); {script}"):
        said = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=300
        ).stdout
        system, file = said.splitlines()
        assert system
        assert Path(file).name == "platform.py"
        assert not Path(file).is_relative_to(REPOSITORY / "platform")


def test_the_folder_called_platform_is_no_package() -> None:
    assert (REPOSITORY / "platform" / "polyview" / "__init__.py").is_file()
    assert not (REPOSITORY / "platform" / "__init__.py").exists()
