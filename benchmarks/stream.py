"""Streams: single steps, one sequence, and a pool of 10,000, beside torch and ONNX Runtime, in turn in one process.

Run ``python -m benchmarks.stream [--rounds 5] [--json FILE]`` from the repository's root. Results are checked against
the float64 reference before anything is timed. A step's time is the median of single calls, from Python with NumPy in
and out, less what reading the clock takes; the sequence's and the pool's is the median of the rounds.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lstmkit.core import native_status
from lstmkit.reference import run_sequence
from lstmkit.runtime import SequenceModel
from lstmkit.spec import CellSpec

ACCURACY = {"float32": 1e-6, "bfloat16": 1e-2, "int8": 3e-2}
STEPS, STREAMS = 96, 10_000
Call = Callable[[], Any]


def make_model(spec: CellSpec, seed: int = 0) -> tuple[SequenceModel, dict[str, np.ndarray]]:
    random, bound = np.random.default_rng(seed), spec.hidden_size**-0.5
    shapes = spec.parameter_shapes().items()
    weights = {name: random.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes}
    stages = [{"name": "lstm", "kind": "recurrent", "inputs": ["x"], "options": {"cell": spec.to_dict()}}]
    document = {"task": "sequence", "sequence": {"input_size": spec.input_size}, "stages": stages}
    return SequenceModel(document, {f"lstm.{name}": array for name, array in weights.items()}), weights


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def check(size: int, precision: str, threads: int) -> float:
    """Largest difference of a sequence, of its steps and of a pool's from the float64 reference."""
    spec = CellSpec(size, size)
    model, weights = make_model(spec)
    x = draw(STEPS, size)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    exact = run_sequence(np, spec, wide, x[:, None].astype(np.float64)).output[:, 0]
    stream, pool = model.stream(precision=precision, threads=threads), model.pool(1, precision=precision)
    ours = [stream.run(x), [pool.step(row[None])[0] for row in x]]
    stream.reset()
    ours.append([stream.step(row) for row in x])
    error = max(float(np.abs(y - exact).max()) for y in ours)
    if not error <= ACCURACY[precision]:
        raise SystemExit(f"a stream of {size} units in {precision} differs from the reference by {error:.1e}")
    return error


def torch_lstm(weights: dict[str, np.ndarray], size: int) -> torch.nn.LSTM:
    layer = torch.nn.LSTM(size, size)
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return layer


def torch_steps(weights: dict[str, np.ndarray], size: int) -> dict[str, Call]:
    layer, cell = torch_lstm(weights, size), torch.nn.LSTMCell(size, size)
    cell.load_state_dict({name.removesuffix("_l0"): torch.from_numpy(array) for name, array in weights.items()})
    x, state, pair = torch.from_numpy(draw(1, 1, size)), None, None

    def step_layer() -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = layer(x, state)

    def step_cell() -> None:
        nonlocal pair
        with torch.inference_mode():
            pair = cell(x[0], pair)

    return {"torch nn.LSTM": step_layer, "torch LSTMCell": step_cell}


def onnx_session(weights: dict[str, np.ndarray], size: int, threads: int) -> Callable[..., Any] | None:
    """A function of x (T, 1, I), h and c by ONNX Runtime; None where it is not installed."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None

    def reorder(name: str) -> np.ndarray:
        i, f, g, o = np.split(weights[name], 4)
        return np.concatenate([i, o, f, g])

    tensors = {
        "w": reorder("weight_ih_l0")[None],
        "r": reorder("weight_hh_l0")[None],
        "b": np.concatenate([reorder("bias_ih_l0"), reorder("bias_hh_l0")])[None],
    }
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "hn", "cn"], hidden_size=size)
    graph = onnx.helper.make_graph(
        [node],
        "lstm",
        [info("x", kind, ["T", 1, size]), info("h", kind, [1, 1, size]), info("c", kind, [1, 1, size])],
        [info("y", kind, ["T", 1, 1, size]), info("hn", kind, [1, 1, size]), info("cn", kind, [1, 1, size])],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x, h, c: session.run(None, {"x": x, "h": h, "c": c})


def onnx_step(weights: dict[str, np.ndarray], size: int, threads: int) -> dict[str, Call]:
    run = onnx_session(weights, size, threads)
    if run is None:
        return {}
    x, state = draw(1, 1, size), [np.zeros((1, 1, size), np.float32)] * 2

    def step() -> None:
        state[:] = run(x, *state)[1:]

    return {"ONNX Runtime": step}


def times(call: Call, count: int) -> list[int]:
    """Nanoseconds of single calls."""
    clock = time.perf_counter_ns
    found: list[int] = []
    for _ in range(count):
        start = clock()
        call()
        found.append(clock() - start)
    return found


def percentiles(calls: dict[str, Call], rounds: int, budget: float) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile in microseconds of each call, taken in turn for `budget` seconds a round."""
    empty = statistics.median(times(lambda: None, 20_000))
    counts = {name: max(20, int(budget / (statistics.median(times(call, 50)) * 1e-9))) for name, call in calls.items()}
    samples: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name] += times(call, counts[name])[10:]
    return {
        name: (max(0.0, float(np.percentile(values, 50)) - empty) / 1e3, float(np.percentile(values, 99)) / 1e3)
        for name, values in samples.items()
    }


def row(case: str, unit: str, ours: float, peers: dict[str, float], **more: Any) -> dict[str, Any]:
    absent = any(find_spec(name) is None for name in ("onnx", "onnxruntime"))
    missing = ["ONNX Runtime (pip install onnx onnxruntime)"] if absent else []
    return {"case": case, "ours": ours, "peers": peers, "unit": unit, "missing": missing, **more}


def step_rows(size: int, threads: int, rounds: int) -> Iterable[dict[str, Any]]:
    spec = CellSpec(size, size)
    model, weights = make_model(spec)
    x, out = draw(size), np.empty(size, np.float32)
    calls: dict[str, Call] = {}
    for precision in ACCURACY:
        stream = model.stream(precision=precision, threads=threads)
        calls[precision] = lambda step=stream.step: step(x)
        calls[f"{precision} out="] = lambda step=stream.step: step(x, out)
    found = percentiles(calls | torch_steps(weights, size) | onnx_step(weights, size, threads), rounds, 0.1)
    peers = {name: time for name, (time, _) in found.items() if name not in calls}
    for name in calls:
        p50, p99 = found[name]
        yield row(f"one step B=1 I=H={size} {name} threads={threads}", "us", p50, peers, p99=p99)


def sequence_rows(size: int, rounds: int) -> Iterable[dict[str, Any]]:
    model, weights = make_model(CellSpec(size, size))
    x = draw(STEPS, size)
    calls: dict[str, Call] = {}
    for precision in ACCURACY:
        stream = model.stream(precision=precision)
        calls[precision] = lambda run=stream.run: run(x)
    layer, tensor = torch_lstm(weights, size), torch.from_numpy(x[:, None])

    def whole() -> None:
        with torch.inference_mode():
            layer(tensor)

    peers: dict[str, Call] = {"torch nn.LSTM": whole}
    if session := onnx_session(weights, size, 1):
        zero = np.zeros((1, 1, size), np.float32)
        peers["ONNX Runtime"] = lambda: session(x[:, None], zero, zero)
    found = percentiles(calls | peers, rounds, 0.1)
    for name in calls:
        theirs = {peer: found[peer][0] for peer in peers}
        yield row(f"sequence B=1 T={STEPS} I=H={size} {name}", "us", found[name][0], theirs, p99=found[name][1])


def pool_rows(size: int, rounds: int) -> Iterable[dict[str, Any]]:
    model, weights = make_model(CellSpec(size, size))
    x = draw(STREAMS, size)
    calls: dict[str, Call] = {}
    for precision in ACCURACY:
        pool = model.pool(STREAMS, precision=precision)
        calls[precision] = lambda step=pool.step: step(x)
    layer, tensor, state = torch_lstm(weights, size), torch.from_numpy(x[None]), None

    def torch_batch() -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = layer(tensor, state)

    found = percentiles(calls | {"torch nn.LSTM": torch_batch}, rounds, 0.2)
    rates = {name: STREAMS / time for name, (time, _) in found.items()}
    for name in calls:
        yield row(
            f"pool of {STREAMS} I=H={size} {name}", "M steps/s", rates[name], {"torch nn.LSTM": rates["torch nn.LSTM"]}
        )


def memory_rows(size: int) -> Iterable[dict[str, Any]]:
    """Each in a new process, where no memory of before is used again."""
    for precision in ACCURACY:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            used = process.submit(bytes_per_stream, size, precision).result()
        case = f"pool of {STREAMS} I=H={size} {precision}, memory of a stream"
        yield {"case": case, "ours": used, "peers": {}, "unit": "bytes", "missing": []}


def bytes_per_stream(size: int, precision: str) -> float:
    """What a pool and its first step add to what is resident, by the stream; the weights are there before."""
    model, _ = make_model(CellSpec(size, size))
    x = draw(STREAMS, size)
    model.pool(1, precision=precision).step(x[:1])
    before = _resident_bytes()
    pool = model.pool(STREAMS, precision=precision)
    pool.step(x)
    return (_resident_bytes() - before) / STREAMS


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(rounds: int = 5) -> list[dict[str, Any]]:
    """All cases: rows of ``case``, ``ours``, ``peers`` by name, ``unit`` and ``missing`` peers."""
    for size, threads in ((64, 1), (256, 1), (256, 2)):
        for precision in ACCURACY:
            error = check(size, precision, threads)
            print(f"checked I=H={size} {precision} threads={threads}: differs from float64 by {error:.1e}")
    rows: list[dict[str, Any]] = []
    for size, threads in ((64, 1), (256, 1), (256, 2)):
        rows += step_rows(size, threads, rounds)
    rows += sequence_rows(64, rounds)
    rows += pool_rows(64, rounds)
    if Path("/proc/self/statm").exists():
        rows += memory_rows(64)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    status = native_status()
    if not status.available:
        raise SystemExit(f"there is no native core to measure: {status.reason}")
    print(f"native core: {status.active}; torch {torch.__version__} on {torch.get_num_threads()} threads")
    rows = measure(options.rounds)
    for found in rows:
        peers = "  ".join(f"{name} {value:.2f}" for name, value in found["peers"].items())
        p99 = f" (p99 {found['p99']:.2f})" if "p99" in found else ""
        print(f"{found['case']:46} {found['ours']:8.2f} {found['unit']}{p99}   {peers}")
    for name in sorted({name for found in rows for name in found["missing"]}):
        print(f"missing: {name}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
