import itertools

import numpy as np
import pytest
from helpers.streams import (
    CELLS,
    PRECISIONS,
    SETS,
    chain_model,
    core,
    draw,
    draw_state,
    draw_weights,
    expected,
    layer_model,
    pack,
    status,
    without_core,
)

from lstmkit.spec import EngineError, OptionError

native = pytest.mark.skipif(not status.available, reason=f"the native core: {status.reason}")
T = 37


def refuse(*_):
    raise AssertionError("plain arrays must not take the way of others")


def run_native(spec, precision, instruction_set, threads, splits):
    stream = core.Stream(pack(spec, precision, instruction_set), threads, refuse, refuse)
    stream.write_state(*(state.reshape(-1) for state in draw_state(spec)))
    x = draw(T, spec.input_size, scale=1.5)
    outputs = []
    for first, last in itertools.pairwise([0, *splits, T]):
        out = np.full((last - first, stream.output_size), np.nan, np.float32)
        assert stream.run(x[first:last], out) is out
        outputs.append(out)
    h, c = (np.full(state.shape, np.nan, np.float32) for state in draw_state(spec))
    stream.read_state(h.reshape(-1), c.reshape(-1))
    return np.concatenate(outputs), h, c


@native
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("spec", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("instruction_set", SETS)
def test_stream__matches_reference(instruction_set, precision, spec, threads):
    theirs = expected(spec, draw_weights(spec), draw(T, spec.input_size, scale=1.5), draw_state(spec))
    for splits in ([], range(1, T), [1, 24, 25, 36]):
        ours = run_native(spec, precision, instruction_set, threads, splits)
        for actual, right in zip(ours, theirs, strict=True):
            bound = PRECISIONS[precision] * max(1.0, np.abs(right).max()) * spec.num_layers**0.5
            np.testing.assert_allclose(actual, right, rtol=0, atol=bound)


@native
@pytest.mark.parametrize("precision", PRECISIONS)
def test_stream__equals_itself__with_another_thread(precision):
    spec = CELLS["large"]
    for one, two in zip(*(run_native(spec, precision, "", threads, [5, 6]) for threads in (1, 2)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_int8__never_strays_from_float32_in_a_long_sequence():
    spec = CELLS["even"]
    x = draw(3000, spec.input_size)
    exact = expected(spec, draw_weights(spec), x, (0 * s for s in draw_state(spec)))[0]
    if not status.available:
        pytest.skip(f"the native core: {status.reason}")
    rough = layer_model(spec).stream(precision="int8").run(x)
    error = np.abs(rough - exact)
    assert error.mean() < 3e-3
    assert error[-100:].mean() < 2 * error[:100].mean() + 1e-3


@pytest.mark.parametrize("make", [lambda: layer_model(CELLS["deep-projected"]), chain_model], ids=["layer", "chain"])
def test_stream_without_the_core__matches_the_core(monkeypatch, make):
    model = make()
    x = draw(T, model.input_size)
    whole = model.predict(x)
    with_core = model.stream()
    without_core(monkeypatch)
    without = make().stream()
    np.testing.assert_allclose(with_core.run(x), whole, rtol=0, atol=2e-6)
    np.testing.assert_allclose(without.run(x), whole, rtol=0, atol=2e-6)
    for name, array in with_core.state.items():
        np.testing.assert_allclose(without.state[name], array, rtol=0, atol=2e-6)
    without.state = with_core.state
    np.testing.assert_allclose(without.step(x[0]), with_core.step(x[0]), rtol=0, atol=2e-6)


@native
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("make", [lambda: layer_model(CELLS["deep-projected"]), chain_model], ids=["layer", "chain"])
def test_predict_without_the_core__matches_the_core(monkeypatch, make, batch):
    model = make()
    x = draw(batch, T, model.input_size)
    with_core = model.predict(x)
    monkeypatch.setattr("lstmkit.runtime.model.run_whole", refuse)
    with pytest.raises(AssertionError):
        model.predict(x)
    without_core(monkeypatch)
    np.testing.assert_allclose(model.predict(x), with_core, rtol=0, atol=2e-6)


@native
@pytest.mark.parametrize("precision", PRECISIONS)
def test_chain__matches_whole_sequence__in_every_precision(precision):
    model = chain_model()
    x = draw(T, 3)
    stream = model.stream(precision=precision)
    steps = np.stack([stream.step(row) for row in x[:9]] + list(stream.run(x[9:])))
    np.testing.assert_allclose(steps, model.predict(x), rtol=0, atol=5 * PRECISIONS[precision])


@native
@pytest.mark.parametrize("precision", PRECISIONS)
def test_clone__equals_original__in_every_precision(precision):
    model, x = layer_model(CELLS["odd"]), draw(T, 1)
    stream = model.stream(precision=precision)
    stream.run(x[:20])
    clone = stream.clone()
    np.testing.assert_array_equal(clone.run(x[20:]), stream.run(x[20:]))


@native
def test_streams_of_one_model__never_pack_twice():
    model = layer_model(CELLS["plain"])
    first = model.packed(core, "lstm", "float32")
    model.stream()
    model.pool(3)
    assert model.packed(core, "lstm", "float32") is first
    assert model.packed(core, "lstm", "int8") is not first


def test_stream__rejects_options():
    model = layer_model(CELLS["plain"])
    with pytest.raises(OptionError, match="expected the precision float32, bfloat16 or int8, got 'float16'"):
        model.stream(precision="float16")
    for threads in (0, 3, None):
        with pytest.raises(OptionError, match="a stream can use 1 or 2 threads, not"):
            model.stream(threads=threads)


def test_coarse_stream__rejects_a_machine_without_the_core(monkeypatch):
    without_core(monkeypatch)
    with pytest.raises(EngineError, match="int8 needs the native core; it was taken away; float32 works without it"):
        layer_model(CELLS["plain"]).stream(precision="int8")


@native
def test_stream_weights__reject_what_does_not_fit():
    w, r, b = draw(8, 3), draw(8, 2), draw(8)
    for layers, match in [
        ([], "at least one layer"),
        ([(w[:7], r, b, b, None)], "do not fit each other"),
        ([(w, r[:, :1], b, b, None)], "do not fit each other"),
        ([(w, r, b, b, None), (w, r, b, b, None)], "reads 3 numbers, the one before it gives 2"),
        ([(w, r, b, None, None)], "both biases or none"),
        ([(w, r, b[:4], b[:4], None)], "does not fit its layer"),
        ([(w, r * np.inf, b, b, None)], "NaN or infinite"),
    ]:
        with pytest.raises(ValueError, match=match):
            core.StreamWeights(layers, "float32")
    with pytest.raises(ValueError, match="float32, bfloat16 or int8, got 'int4'"):
        core.StreamWeights([(w, r, b, b, None)], "int4")
