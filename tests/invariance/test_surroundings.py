"""The same files for other users: other folders, languages, time zones and settings."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.invariance import RUN, Pipeline

IN_THE_USERS_LANGUAGE = f"import locale; locale.setlocale(locale.LC_ALL, ''); {RUN}"
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


def test_one_worker_in_another_folder_and_locale_gives_the_same_files(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    found = pipeline(
        tmp_path / "a folder, où ça",
        umask=0o077,
        LC_ALL="C",
        TZ="Pacific/Kiritimati",
        PYTHONHASHSEED="1",
        PIPELINE_WORKERS="1",
        OMP_NUM_THREADS="4",
        MKL_NUM_THREADS="3",
    )
    assert found == here


def test_settings_of_the_users_own_change_no_byte(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    style = tmp_path / "matplotlibrc"
    style.write_text(UGLY)
    found = pipeline(
        tmp_path / "run",
        umask=0o000,
        TZ="America/St_Johns",
        PYTHONHASHSEED="4294967295",
        MATPLOTLIBRC=str(style),
        MPLBACKEND="svg",
        PIPELINE_WORKERS="2",
        OMP_NUM_THREADS="1",
        OMP_DYNAMIC="TRUE",
        MKL_NUM_THREADS="2",
        MKL_CBWR="AVX512",
        ATEN_CPU_CAPABILITY="default",
        DNNL_MAX_CPU_ISA="SSE41",  # the old name of ONEDNN_MAX_CPU_ISA
    )
    assert found == here


def test_a_decimal_comma_changes_no_byte(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    languages = tmp_path / "languages"
    languages.mkdir()
    name = "de_DE.UTF-8"
    if not shutil.which("localedef") or not Path("/usr/share/i18n/locales/de_DE").exists():
        pytest.skip("no source of the locale de_DE.UTF-8: apt-get install locales")
    command = ["localedef", "--inputfile=de_DE", "--charmap=UTF-8", str(languages / name)]
    subprocess.run(command, check=True)
    found = pipeline(
        tmp_path / "run", code=IN_THE_USERS_LANGUAGE, LC_ALL=name, LOCPATH=str(languages)
    )
    assert found == here
