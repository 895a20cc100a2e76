"""An exported ONNX graph that takes its weights out of the shards, matrices in eight bits."""

import hashlib
from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from manip_model.quantise import EightBits
from manip_model.shards import SPREAD, STEP, Entry

_TYPES = {"int8": TensorProto.INT8, "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}
# Smaller constants stay in the graph: a reference is as long.
_SMALL = 256  # [bytes]


def refer_to_shards(
    model: ModelProto,
    weights: Mapping[str, Tensor],
    layers: Mapping[str, EightBits],
    where: Mapping[str, Entry],
) -> None:
    """Change ``model`` in place.

    The exporter folds and renames what it can, so weights are found by their values.

    Args:
        model: As exported, with its weights in it.
        weights: Of the network that it was exported from, by name.
        layers: Matrices of eight bits, by their layer's name.
        where: Every stored tensor.

    Raises:
        ValueError: A matrix is used in a way that is not known here.
    """
    _Referrer(model.graph, weights, layers, where).run()
    # Where in the source each node comes from, twice as long as all the rest.
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


class _Referrer:
    def __init__(self, graph: GraphProto, weights, layers, where):
        self.graph, self.layers, self.where = graph, layers, where
        self.known = {}
        for name, value in weights.items():
            array = value.detach().numpy()
            self.known.setdefault(_key(array), (name, False))
            if array.ndim == 2:
                self.known.setdefault(_key(array.T), (name, True))
        self.nodes: list[NodeProto] = []
        self.held: dict[str, TensorProto] = {}
        self.made: set[str] = set()

    def run(self) -> None:
        matrices = {}
        for held in self.graph.initializer:
            found = self._name_of(held)
            if found and found[0].removesuffix(".weight") in self.layers:
                matrices[held.name] = found
            elif found:
                self._plain(held, *found)
            else:
                self.held[held.name] = held
        for node in self.graph.node:
            self._node(node, matrices)
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(self.held.values())

    def _name_of(self, held: TensorProto) -> tuple[str, bool] | None:
        """A weight's name and whether it lies transposed; None for other constants."""
        if held.data_type != TensorProto.FLOAT:
            return None
        array = numpy_helper.to_array(held)
        return self.known.get(_key(array)) if array.nbytes >= _SMALL else None

    def _plain(self, held: TensorProto, name: str, transposed: bool) -> None:
        """A weight that is no matrix of eight bits, under the graph's own name for it."""
        # Narrow matrices lie in the shards the way round that torch has them.
        source = self._external(name)
        steps = []
        if self.where[name].dtype == np.float16:
            steps.append(("Cast", {"to": TensorProto.FLOAT}))
        if transposed:
            steps.append(("Transpose", {"perm": (1, 0)}))
        if not steps:
            source = self._external(name, held.name)
        for number, (kind, settings) in enumerate(steps, start=1):
            out = held.name if number == len(steps) else f"{held.name}/{kind}"
            self._add(kind, (source,), out, **settings)
            source = out

    def _node(self, node: NodeProto, matrices: Mapping[str, tuple[str, bool]]) -> None:
        used = [name for name in node.input if name in matrices]
        if not used:
            self.nodes.append(node)
            return
        kind, x, w = node.op_type, node.input[0], node.input[1]
        flips = any(a.name == "transB" and a.i for a in node.attribute)
        if used != [w] or kind not in ("MatMul", "Gemm"):
            raise ValueError(f"{node.name} ({kind}) takes the matrix {matrices[used[0]][0]}")
        name, transposed = matrices[w]
        if transposed == (kind == "Gemm" and flips):
            raise ValueError(f"{node.name} ({kind}) multiplies {name} the wrong way round")
        bias = node.input[2] if len(node.input) > 2 else None
        out = node.output[0]
        product = out if bias is None else f"{out}/product"
        self._add("MatMul", (self._inputs(x, name), self._matrix(name)), product)
        if bias is not None:
            self._add("Add", (product, bias), out)

    def _matrix(self, name: str) -> str:
        """The plain numbers of a matrix ``(in, out)``, its inputs' spread within."""
        out = f"{name}:plain"
        levels, step = self._external(name), self._external(name + STEP)
        return self._add("DequantizeLinear", (levels, step), out, axis=1)

    def _inputs(self, x: str, name: str) -> str:
        """``x`` spread and rounded as the layer wants it; layers that want the same share it."""
        layer = self.layers[name.removesuffix(".weight")]
        if layer.spread is not None:
            out = f"{x}/spread/{_digest(layer.spread.numpy())}"
            x = self._shared("Div", (x, self._external(name + SPREAD)), out)
        if layer.input_step is None:
            return x
        step = self._constant(f"step/{layer.input_step!r}", np.float32(layer.input_step))
        zero = self._constant("zero/int8", np.int8(0))
        levels = self._shared("QuantizeLinear", (x, step, zero), f"{x}/levels/{step}")
        return self._shared("DequantizeLinear", (levels, step, zero), f"{levels}/plain")

    def _add(self, kind: str, inputs, out: str, **settings) -> str:
        if out not in self.made:
            self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **settings))
            self.made.add(out)
        return out

    _shared = _add

    def _constant(self, name: str, value) -> str:
        self.held.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def _external(self, name: str, called: str = "") -> str:
        """A stored tensor as the graph's constant ``called``, by default its own name."""
        called, entry = called or name, self.where[name]
        tensor = TensorProto(
            name=called,
            data_type=_TYPES[entry.dtype.name],
            dims=entry.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (
            ("location", entry.shard),
            ("offset", entry.offset),
            ("length", entry.length),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self.held.setdefault(called, tensor)
        return called


def _key(array: np.ndarray) -> tuple:
    return array.shape, hashlib.sha256(np.ascontiguousarray(array)).digest()


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array).hexdigest()[:8]
