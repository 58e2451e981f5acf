import contextlib
import gc
import os
import resource
import threading
import tracemalloc

import numpy as np
import pytest
from helpers.streams import CELLS, PRECISIONS, chain_model, draw, layer_model, status

from lstmkit.spec import CellSpec, DataError, EngineError, ShapeError

native = pytest.mark.skipif(not status.available, reason=f"the native core: {status.reason}")
SPEC = CELLS["even"]


class Subclass(np.ndarray):
    pass


@pytest.fixture(params=["layer", "chain"])
def model(request):
    return layer_model(CELLS["plain"]) if request.param == "layer" else chain_model()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.tolist(),
        lambda x: x.astype(np.float64),
        lambda x: np.repeat(x, 2)[::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f4"),
        lambda x: x.view(Subclass),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32),
        lambda x: memoryview(x),
    ],
    ids=["list", "float64", "strided", "reversed", "big-endian", "subclass", "misaligned", "memoryview"],
)
def test_step__equals_that_of_a_plain_array(model, change):
    x = draw(3)
    given = change(x)
    if isinstance(given, np.ndarray):
        given.flags.writeable = False
    np.testing.assert_array_equal(model.stream().step(given), model.stream().step(x))
    np.testing.assert_array_equal(model.stream().step(np.array([1, 0, 2])), model.stream().step([1.0, 0.0, 2.0]))


def test_step__equals_itself__into_out(model):
    x = draw(5, 3)
    one, two = model.stream(), model.stream()
    size = model.output_size
    for out in (np.full(size, np.nan, np.float32), np.full(2 * size, np.nan, np.float32)[::2]):
        for row in x:
            answer = two.step(row, out=out)
            assert answer is out
            np.testing.assert_array_equal(answer, one.step(row))
        assert two.step(x[0], out) is out
        one.step(x[0])
    assert two.step(x[0], None).shape == (size,)


def test_step__never_returns_the_same_memory(model):
    stream = model.stream()
    first = stream.step(draw(3, seed=1))
    kept = first.copy()
    second = stream.step(draw(3, seed=2))
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    first[:] = 99
    twin = model.stream()
    twin.step(draw(3, seed=1))
    twin.step(draw(3, seed=2))
    np.testing.assert_array_equal(stream.step(draw(3)), twin.step(draw(3)))


def test_step__equals_itself__in_place():
    model = layer_model(CellSpec(5, 5))
    x = draw(5)
    right = model.stream().step(x)
    np.testing.assert_array_equal(model.stream().step(x, out=x), right)


def read_only(size):
    out = np.zeros(size, np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    "make",
    [
        lambda n: np.zeros(n + 1, np.float32),
        lambda n: np.zeros((1, n), np.float32),
        np.zeros,
        read_only,
        lambda n: [0.0] * n,
    ],
    ids=["size", "dimensions", "dtype", "read-only", "list"],
)
def test_step__rejects_out(model, make):
    with pytest.raises(ShapeError, match="expected out to be a float32 array of shape"):
        model.stream().step(draw(3), out=make(model.output_size))


@pytest.mark.parametrize("call", [lambda s, x: s.step(), lambda s, x: s.step(x, to=x), lambda s, x: s.step(x, x, x)])
def test_step__rejects_other_arguments(model, call):
    with pytest.raises(TypeError):
        call(model.stream(), draw(3))


@pytest.mark.parametrize("precision", PRECISIONS if status.available else ["float32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 63])
def test_step__rejects_what_is_not_finite__and_changes_nothing(precision, bad, place):
    stream, x = layer_model(SPEC).stream(precision=precision), draw(64)
    stream.step(x)
    before, out = stream.state, np.full(64, 7, np.float32)
    hostile = x.copy()
    hostile[place] = bad
    with pytest.raises(DataError, match=rf"the value at \(0, {place}\) is {bad}; fill missing steps"):
        stream.step(hostile, out=out)
    with pytest.raises(DataError, match=rf"the value at \(2, {place}\) is {bad}; fill missing steps"):
        stream.run(np.stack([x, x, hostile]))
    assert (out == 7).all()
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, before[name])


@native
@pytest.mark.parametrize("huge", [3e38, 1e-45])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_step__never_fails_on_extreme_numbers(precision, huge):
    stream = layer_model(SPEC).stream(precision=precision)
    y = np.stack([stream.step(np.full(64, sign * huge, np.float32)) for sign in (1, -1, 1)])
    assert (np.abs(y) <= 1).all()


@native
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_step__never_allocates(precision, threads):
    spec = SPEC if threads == 1 else CELLS["large"]
    stream, x = layer_model(spec).stream(precision=precision, threads=threads), draw(spec.input_size)
    out, steps = np.empty(spec.output_size, np.float32), range(300)

    def use():
        for _ in steps:
            stream.step(x, out=out)

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    use()
    gc.collect()
    tracemalloc.start()
    try:
        use()
        before = tracemalloc.get_traced_memory()[0]
        use()
        assert tracemalloc.get_traced_memory()[0] - before < len(steps), "more than a byte for each step"
    finally:
        tracemalloc.stop()
    fewest = min(-faults() + (use() or faults()) for _ in range(5))
    assert fewest == 0


OPERATIONS = {
    "step": lambda stream: stream.step(draw(stream._model.input_size)),
    "run": lambda stream: stream.run(draw(2, stream._model.input_size)),
    "reset": lambda stream: stream.reset(),
    "state": lambda stream: stream.state,
    "set state": lambda stream: setattr(stream, "state", stream._model.stream().state),
    "clone": lambda stream: stream.clone(),
}


@native
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_stream__rejects_a_second_thread__and_changes_nothing(operation, threads):
    """Again and again until both were inside at once: what a busy machine makes of one attempt is not known."""
    model = layer_model(CellSpec(64, 256))
    x = draw(2000, 64)
    right = model.stream().run(x)

    def run(stream, outcome):
        with contextlib.suppress(EngineError):
            outcome.append(stream.run(x))

    for _ in range(100):
        stream, outcome, refused = model.stream(threads=threads), [], []
        thread = threading.Thread(target=run, args=(stream, outcome))
        thread.start()
        while not outcome:
            try:
                operation(stream)
            except EngineError as error:
                refused.append(str(error))
            else:
                break
        thread.join()
        if refused:
            assert all("another thread is using this stream; give each thread its own" in said for said in refused)
            np.testing.assert_allclose(outcome[0], right, rtol=0, atol=1e-6)
            return
    pytest.fail("the two threads never met")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_chain__rejects_a_second_thread__and_changes_nothing(operation):
    stream, twin = chain_model().stream(), chain_model().stream()
    relu = stream._overrides.get("bend", lambda x: np.maximum(x, 0))
    refused = []

    def intrude(x):
        with pytest.raises(EngineError, match="another thread is using this stream"):
            operation(stream)
        refused.append(len(x))
        return relu(x)

    stream._overrides["bend"] = intrude
    np.testing.assert_array_equal(stream.run(draw(3, 3)), twin.run(draw(3, 3)))
    assert refused == [1]
    del stream._overrides["bend"]
    operation(stream)


@pytest.mark.parametrize("threads", [1, 2])
def test_stream__matches_parent__after_fork(threads):
    spec = CELLS["large"]
    model = layer_model(spec)
    stream, x = model.stream(threads=threads), draw(9, spec.input_size)
    stream.run(x[:5])
    right = stream.clone().run(x[5:])
    child = os.fork()
    if child == 0:
        same = np.array_equal(stream.run(x[5:]), right) and np.array_equal(stream.clone().step(x[0]), stream.step(x[0]))
        own = model.stream(threads=2)
        own.run(x)
        del stream, own
        gc.collect()
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(stream.run(x[5:]), right)
