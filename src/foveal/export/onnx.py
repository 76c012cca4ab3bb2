"""Graphs as ONNX files: written, checked against torch in onnxruntime, and quantized.

Needs the packages onnx, onnxscript and onnxruntime: pip install 'foveal[export]'.
"""

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .graphs import Graph

TOLERANCE = 1e-4  # of every number that a graph gives, beside torch
PROBES = ((1, 2), (2, 20), (5, 77), (3, 248))  # pictures or texts, and tokens of a text, that a graph is checked with
INLINE = 1 << 30  # bytes of weights that a file may hold itself; protocol buffers end at twice as many
SMALL = 1 << 12  # bytes of a tensor that is not worth a place in the shared file


@dataclass
class SharedWeights:
    """One file of weights for many graphs: a tensor that several of them hold is written once.

    Attributes:
        path: The file. Graphs lie beside it.
        places: Where each tensor begins, by its content.
    """

    path: Path
    places: dict[bytes, int] = field(default_factory=dict)

    def place(self, content: bytes) -> int:
        """Return where a tensor of this content begins; it is written if it is new."""
        key = hashlib.sha256(content).digest()
        if key not in self.places:
            with self.path.open("ab") as file:
                file.write(b"\0" * (-file.tell() % 64))  # so that readers may map it
                self.places[key] = file.tell()
                file.write(content)
        return self.places[key]


def write(graph: Graph, path: Path, shared: SharedWeights | None = None) -> None:
    """Export a graph.

    Args:
        graph: What to export. Its model is on the CPU.
        path: The file. Its folder must be there.
        shared: Takes the weights. None: the file holds them itself, or has a file beside it if they are too large.

    Raises:
        ValueError: If the packages are not installed.
    """
    onnx_ir = need("onnx_ir")
    example = graph.example(2, 9)
    shapes = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in graph.inputs.values())
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.module.eval(),
            example,
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=_shapes(graph, shapes),
            verbose=False,
        )
    assert program is not None
    model = program.model
    for value, axes in zip(model.graph.inputs, graph.inputs.values(), strict=True):
        assert value.shape is not None
        value.shape = onnx_ir.Shape([axes.get(axis, size) for axis, size in enumerate(value.shape)])
    save(model, path, shared)


def save(model: Any, path: Path, shared: SharedWeights | None) -> None:
    """Write a model of `onnx_ir`, its weights inside, beside it, or shared. Arguments as `write`."""
    onnx_ir = need("onnx_ir")
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # where in which file of whose machine it was traced
    onnx_ir.external_data.load_to_model(model)
    if shared is None:
        total = sum(value.const_value.nbytes for value in model.graph.initializers.values())
        onnx_ir.save(model, path, **({"external_data": f"{path.name}.data"} if total > INLINE else {}))
        return
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor.nbytes < SMALL or tensor.dtype == onnx_ir.DataType.STRING:
            continue
        value.const_value = onnx_ir.ExternalTensor(
            shared.path.name,
            shared.place(tensor.tobytes()),
            tensor.nbytes,
            tensor.dtype,
            shape=tensor.shape,
            name=value.name,
            base_dir=path.parent,
        )
    onnx_ir.save(model, path)


def session(path: Path) -> Any:
    """Open a graph on the CPU, on as many threads as torch has.

    Raises:
        ValueError: If onnxruntime is not installed.
    """
    onnxruntime = need("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(running: Any, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the outputs of a graph for these inputs, in its own order."""
    names = [value.name for value in running.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return [torch.from_numpy(np.asarray(value)) for value in running.run(None, feed)]


@torch.no_grad()
def check(graph: Graph, path: Path) -> dict[str, float]:
    """Return the largest difference between a written graph and the model, for every size of `PROBES`.

    Raises:
        ValueError: If it exceeds `TOLERANCE`.
    """
    running, differences = session(path), {}
    for count, length in PROBES:
        inputs = graph.example(count, length)
        outputs = run(running, inputs)
        for name, expected, actual in zip(graph.outputs, graph.reference(*inputs), outputs, strict=True):
            size = f"{count} x {inputs[0].shape[1]} tokens" if graph.kind else f"{count}"
            if expected.shape != actual.shape:
                raise ValueError(
                    f"{path}: {name} has shape {tuple(actual.shape)}, torch gives {tuple(expected.shape)}."
                )
            difference = (expected.float() - actual.float()).abs().max().item() if expected.numel() else 0.0
            if not difference <= TOLERANCE:
                raise ValueError(f"{path}: {name} differs by {difference:.1e} from torch for {size}. Do not use it.")
            differences[f"{name}, {size}"] = difference
    return differences


def quantize(source: Path, path: Path, shared: SharedWeights | None) -> None:
    """Write a graph with the weights of matrix products in 8 bits, one scale a column.

    What they multiply is rounded to 8 bits as it comes.

    Args:
        source: A graph in float32, with its weights inside or beside it.
        path: The new file.
        shared: As for `write`.
    """
    need("onnx")
    quantization = need("onnxruntime.quantization")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _quiet():
        half = Path(folder) / "model.onnx"
        quantization.quantize_dynamic(
            source,
            half,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=True,
        )
        save(need("onnx_ir").load(half), path, shared)


def need(package: str) -> Any:
    """Import an optional package.

    Raises:
        ValueError: If it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        name = package.split(".", maxsplit=1)[0].replace("_", "-")
        raise ValueError(f"Exports need the package {name}. Install it: pip install 'foveal[export]'.") from error


def cosines(reference: Tensor, candidate: Tensor) -> Mapping[str, float]:
    """Return how near embeddings lie to each other: mean and least cosine."""
    cosine = torch.cosine_similarity(reference.flatten(0, -2), candidate.flatten(0, -2), dim=-1)
    return {"mean": cosine.mean().item(), "least": cosine.min().item()}


def _shapes(graph: Graph, shapes: tuple[dict[int, Any], ...]) -> Any:
    """Return shapes by argument; those of a variadic forward come as one."""
    import inspect

    parameters = inspect.signature(graph.module.forward).parameters.values()
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return (shapes,) if variadic else shapes


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' notes on packages that they do without, and on their own inner workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
