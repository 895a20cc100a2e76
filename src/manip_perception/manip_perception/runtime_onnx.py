"""ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from manip_model.graph_names import GRAPH, INPUTS, OUTPUTS
from manip_model.shards import read_index
from manip_perception.runtimes import Runtime


class OnnxRuntime(Runtime):
    """See :class:`manip_perception.runtimes.Runtime`."""

    name = "onnxruntime"

    def __init__(self, folder: Path, threads: int, largest: int):
        self.size = read_index(folder)["config"]["image_size"]
        self.largest = largest
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Else its threads keep the processor busy between pictures, which the other nodes need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str((folder / GRAPH).resolve()), options, providers=["CPUExecutionProvider"]
        )

    def _infer(self, images, cameras, sides, hints) -> dict[str, np.ndarray]:
        feeds = dict(zip(INPUTS, (images, cameras, sides, hints), strict=True))
        return dict(zip(OUTPUTS, self._session.run(list(OUTPUTS), feeds), strict=True))

    def close(self) -> None:
        self._session = None
