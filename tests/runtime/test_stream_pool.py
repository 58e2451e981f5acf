import threading

import numpy as np
import pytest
from helpers.streams import CELLS, PRECISIONS, chain_model, draw, draw_weights, layer_model, status, without_core

from lstmkit.runtime import SequenceModel
from lstmkit.spec import DataError, EngineError, OptionError, ShapeError

MODELS = {
    "plain": lambda: layer_model(CELLS["plain"]),
    "even": lambda: layer_model(CELLS["even"]),
    "deep-projected": lambda: layer_model(CELLS["deep-projected"]),
    "chain": chain_model,
}
native = pytest.mark.skipif(not status.available, reason=f"the native core: {status.reason}")


@pytest.fixture(params=["native", "numpy"])
def engine(request, monkeypatch):
    if request.param == "numpy":
        without_core(monkeypatch)
    elif not status.available:
        pytest.skip(f"the native core: {status.reason}")
    return request.param


def subsets(capacity, seed=1):
    random = np.random.default_rng(seed)
    for count in (1, capacity, 3, 0, capacity // 2, 7):
        yield random.permutation(capacity)[:count]


def compare(model, capacity, atol, **options):
    """Random subsets against a stream for each."""
    pool = model.pool(capacity, **options)
    options.pop("threads", None)
    singles = [model.stream(**options) for _ in range(capacity)]
    for k, indices in enumerate(subsets(capacity)):
        x = draw(len(indices), model.input_size, seed=k)
        y = pool.step(x, indices)
        assert y.shape == (len(indices), model.output_size)
        assert y.dtype == np.float32
        for row, index, answer in zip(x, indices, y, strict=True):
            np.testing.assert_allclose(answer, singles[index].step(row), rtol=0, atol=atol)
    x = draw(capacity, model.input_size, seed=99)
    np.testing.assert_allclose(
        pool.step(x), [stream.step(row) for stream, row in zip(singles, x, strict=True)], rtol=0, atol=atol
    )
    for index in (0, capacity - 1):
        for name, array in singles[index].state.items():
            np.testing.assert_allclose(pool.state(index)[name], array, rtol=0, atol=2 * atol)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_pool__matches_streams(engine, make):
    compare(make(), 23, 2e-6)


@native
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_pool__matches_streams__in_every_precision(make, precision):
    compare(make(), 23, 5 * PRECISIONS[precision], precision=precision)


@native
def test_pool__equals_itself__on_more_threads():
    model = layer_model(CELLS["even"])
    x = draw(1500, 64)
    one, two = model.pool(1500, threads=1), model.pool(1500, threads=2)
    for _ in range(2):
        np.testing.assert_array_equal(one.step(x), two.step(x))


def test_pool__preserves_streams_that_do_not_step(engine):
    pool = chain_model().pool(5)
    pool.step(draw(5, 3))
    before = [pool.state(index) for index in range(5)]
    pool.step(draw(2, 3), [4, 1])
    for index in (0, 2, 3):
        for name, array in pool.state(index).items():
            np.testing.assert_array_equal(array, before[index][name])
    assert any((array != before[4][name]).any() for name, array in pool.state(4).items())


def test_pool__preserves_order_of_rows(engine):
    model = layer_model(CELLS["plain"])
    x, order = draw(6, 3), np.array([3, 0, 5, 1, 4, 2])
    np.testing.assert_allclose(
        model.pool(6).step(x[order], order)[np.argsort(order)], model.pool(6).step(x), rtol=0, atol=1e-6
    )


def test_state__roundtrips__between_stream_and_pool(engine):
    model = chain_model()
    stream, pool, x = model.stream(), model.pool(4), draw(8, 3)
    stream.run(x[:5])
    pool.set_state(2, stream.state)
    np.testing.assert_allclose(pool.step(x[5:6], [2])[0], stream.step(x[5]), rtol=0, atol=2e-6)
    stream.state = pool.state(2)
    np.testing.assert_allclose(stream.step(x[6]), pool.step(x[6:7], [2])[0], rtol=0, atol=2e-6)
    for array in pool.state(2).values():
        array[:] = 99
    assert all((array != 99).all() for array in pool.state(2).values())


def test_reset__equals_new_pool__with_learned_first_state(engine):
    spec = CELLS["deep-projected"]
    model = learned(spec)
    pool, x = model.pool(4), draw(4, 5)
    first = pool.step(x)
    pool.reset([1, 3])
    second = pool.step(x)
    np.testing.assert_array_equal(second[[1, 3]], first[[1, 3]])
    assert (second[[0, 2]] != first[[0, 2]]).all()
    pool.reset()
    np.testing.assert_array_equal(pool.step(x), first)
    np.testing.assert_allclose(first[0], model.stream().step(x[0]), rtol=0, atol=1e-6)


def learned(spec):
    weights = draw_weights(spec) | {"h_0": draw(3, 3, seed=21), "c_0": draw(3, 19, seed=22)}
    options = {"cell": spec.to_dict(), "learn_initial_state": True}
    stages = [{"name": "lstm", "kind": "recurrent", "inputs": ["x"], "options": options}]
    document = {"task": "sequence", "sequence": {"input_size": spec.input_size}, "stages": stages}
    return SequenceModel(document, {f"lstm.{name}": array for name, array in weights.items()})


@pytest.mark.parametrize(
    ("indices", "match"),
    [
        ([0, 5], r"expected streams in 0\.\.4, got 5"),
        ([-1, 0], r"expected streams in 0\.\.4, got -1"),
        ([3, 3], "the stream 3 is named twice"),
    ],
    ids=["beyond", "negative", "twice"],
)
@pytest.mark.parametrize("make", [MODELS["plain"], chain_model], ids=["plain", "chain"])
def test_pool__rejects_indices__and_changes_nothing(engine, make, indices, match):
    pool = make().pool(5)
    pool.step(draw(5, 3))
    before = [pool.state(index) for index in range(5)]
    with pytest.raises(DataError, match=match):
        pool.step(draw(2, 3), indices)
    for index in range(5):
        for name, array in pool.state(index).items():
            np.testing.assert_array_equal(array, before[index][name])


@pytest.mark.parametrize(
    ("x", "indices", "match"),
    [
        (np.zeros(3), None, r"expected steps of shape \(N, 3\), got \(3,\)"),
        (np.zeros((5, 2)), None, r"expected steps of shape \(N, 3\), got \(5, 2\)"),
        (np.zeros((4, 3)), None, "expected one row for each of 5 streams, got 4 rows"),
        (np.zeros((2, 3)), [1], "expected one row for each of 1 streams, got 2 rows"),
        (np.zeros((2, 3)), [0.0, 1.0], r"expected indices \(N,\) of whole numbers"),
        (np.zeros((2, 3)), [True, False], r"expected indices \(N,\) of whole numbers"),
        (np.zeros((2, 3)), [[0, 1]], r"expected indices \(N,\) of whole numbers"),
    ],
    ids=["1-D", "features", "rows", "indices", "float", "mask", "2-D"],
)
def test_pool__rejects_shapes(engine, x, indices, match):
    with pytest.raises(ShapeError, match=match):
        layer_model(CELLS["plain"]).pool(5).step(x, indices)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("make", [MODELS["plain"], chain_model], ids=["plain", "chain"])
def test_pool__rejects_what_is_not_finite__and_changes_nothing(engine, make, bad):
    pool, x = make().pool(3), draw(3, 3).astype(np.float64)
    pool.step(x)
    before = [pool.state(index) for index in range(3)]
    x[1, 2] = bad
    with pytest.raises(DataError, match=r"the value at \(1, 2\) is (nan|inf|1e\+300)"):
        pool.step(x)
    for index in range(3):
        for name, array in pool.state(index).items():
            np.testing.assert_array_equal(array, before[index][name])


def test_pool__rejects_options_and_places():
    model = layer_model(CELLS["plain"])
    for capacity in (0, -1, 2.5, True):
        with pytest.raises(OptionError, match="capacity must be a whole number of at least 1"):
            model.pool(capacity)
    with pytest.raises(OptionError, match="threads must be a whole number of at least 1"):
        model.pool(1, threads=0)
    pool = model.pool(3)
    assert len(pool) == 3
    for call in (lambda: pool.state(3), lambda: pool.set_state(-1, pool.state(0)), lambda: pool.reset([0, 3])):
        with pytest.raises(DataError, match=r"expected streams in 0\.\.2, got"):
            call()
    with pytest.raises(ShapeError, match="this state belongs to another model"):
        pool.set_state(0, {})


OPERATIONS = {
    "step": lambda pool: pool.step(draw(2, 3)),
    "subset": lambda pool: pool.step(draw(1, 3), [1]),
    "reset": lambda pool: pool.reset(),
    "state": lambda pool: pool.state(1),
    "set state": lambda pool: pool.set_state(1, chain_model().stream().state),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_pool__rejects_a_second_thread__and_changes_nothing(engine, operation):
    pool = chain_model().pool(2)
    pool.step(draw(2, 3))
    before = [pool.state(index) for index in range(2)]
    with pool._turn, pytest.raises(EngineError, match="another thread is using this"):
        operation(pool)
    for index in range(2):
        for name, array in pool.state(index).items():
            np.testing.assert_array_equal(array, before[index][name])
    operation(pool)


@native
def test_pool__rejects_or_does__from_many_threads():
    """Whatever the threads do at once, a stream that none of them names keeps its state, and all goes on afterwards."""
    model = layer_model(CELLS["even"])
    pool = model.pool(400)
    pool.step(draw(400, 64))
    kept, other = pool.state(399), model.stream().state
    x, errors = draw(399, 64), []
    calls = [
        lambda: pool.step(x, np.arange(399)),
        lambda: pool.set_state(3, other),
        lambda: pool.state(5),
        lambda: pool.reset([7, 8]),
    ]

    def use(call):
        for _ in range(100):
            try:
                call()
            except EngineError:
                pass
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=use, args=(call,)) for call in calls * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for name, array in pool.state(399).items():
        np.testing.assert_array_equal(array, kept[name])
    assert np.isfinite(pool.step(draw(400, 64))).all()


def test_reset__rejects_indices__and_changes_nothing(engine):
    pool = chain_model().pool(3)
    pool.step(draw(3, 3))
    before = pool.state(0)
    with pytest.raises(DataError, match=r"expected streams in 0\.\.2, got 3"):
        pool.reset([0, 3])
    for name, array in pool.state(0).items():
        np.testing.assert_array_equal(array, before[name])


def test_pool__never_keeps_the_callers_indices(engine):
    """Another thread could change them after they were checked."""
    pool, indices = chain_model().pool(3), np.array([2, 0])
    seen = []
    pools = pool._pools
    for name, own in pools.items():
        original = own.step
        pools[name].step = lambda x, at, step=original: seen.append(at) or step(x, at)
    pool.step(draw(2, 3), indices)
    assert seen
    assert not any(np.shares_memory(at, indices) for at in seen)


@native
def test_pool__never_takes_more_than_a_kilobyte_per_stream():
    model = layer_model(CELLS["even"])
    assert model.pool(2)._pools["lstm"].core.bytes_per_stream <= 1024
