"""The same files for other users: other folders, languages, time zones and settings."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.invariance.conftest import Pipeline

IN_THE_USERS_LANGUAGE = "import locale; locale.setlocale(locale.LC_ALL, '')"
UGLY = """
axes.facecolor: red
axes.formatter.use_locale: True
figure.autolayout: True
font.family: monospace
font.size: 20
image.cmap: jet
lines.linewidth: 9
savefig.bbox: tight
savefig.transparent: True
"""


def test_another_user_with_one_worker_gets_the_same_files(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    style = tmp_path / "matplotlibrc"
    style.write_text(UGLY)
    found = pipeline(
        tmp_path / "a folder, où ça",
        umask=0o077,
        LC_ALL="C",
        TZ="Pacific/Kiritimati",
        PYTHONHASHSEED="1",
        MATPLOTLIBRC=str(style),
        MPLBACKEND="svg",
        PIPELINE_WORKERS="1",
        OMP_NUM_THREADS="4",
        OMP_DYNAMIC="TRUE",
        MKL_NUM_THREADS="3",
        MKL_CBWR="AVX512",
        ATEN_CPU_CAPABILITY="default",
        DNNL_MAX_CPU_ISA="SSE41",  # the old name of ONEDNN_MAX_CPU_ISA
    )
    assert found == here


def test_a_decimal_comma_changes_no_byte(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    name = "de_DE.UTF-8"
    if not shutil.which("localedef") or not Path("/usr/share/i18n/locales/de_DE").exists():
        pytest.skip(f"no source of the locale {name}: apt-get install locales")
    command = ["localedef", "--inputfile=de_DE", "--charmap=UTF-8", str(tmp_path / name)]
    subprocess.run(command, check=True)
    folder = tmp_path / "run"
    assert pipeline(folder, IN_THE_USERS_LANGUAGE, LC_ALL=name, LOCPATH=str(tmp_path)) == here
