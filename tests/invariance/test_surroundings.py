"""The same files for other users: other folders, languages, time zones and settings."""

from pathlib import Path

from tests.invariance.conftest import Pipeline

UGLY = """
axes.facecolor: red
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
