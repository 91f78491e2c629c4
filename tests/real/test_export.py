from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from stages.common.images import Images
from stages.model import weights
from tests.support.outputs import MODEL
from tools import export

pytestmark = pytest.mark.real


def test_onnxruntime_agrees_on_all_test_images(
    images: Images, predictions: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(export.convert(weights.load(MODEL)).SerializeToString())
    session = onnxruntime.InferenceSession(path)
    (seen,) = session.run(None, {"image": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert seen.argmax(axis=1).tolist() == predictions["predicted"].tolist()
    np.testing.assert_allclose(np.exp(seen.max(axis=1)), predictions["confidence"], atol=1e-5)
