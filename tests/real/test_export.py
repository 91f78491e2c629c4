from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from stages import evaluate
from stages.common import mnist
from stages.model import numerics
from stages.model.network import Network
from tools import export

pytestmark = pytest.mark.real


def test_onnxruntime_agrees_on_all_test_images(
    images: mnist.Images, predictions: pd.DataFrame, network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(export.convert(network).SerializeToString())
    session = onnxruntime.InferenceSession(path)
    (seen,) = session.run(None, {"image": images[:, np.newaxis].astype(np.float32) / 255})
    with numerics.pool(2) as pool:
        expected = evaluate.classify(network, images, 1000, pool)
    assert seen.argmax(axis=1).tolist() == predictions["predicted"].tolist()
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-4)
