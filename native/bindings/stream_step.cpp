// A step is so short that finding its arrays would take longer than computing it: here they are read as NumPy lays
// them out, by Python's fastest way to call a method.
#include "stream.h"

#define NPY_NO_DEPRECATED_API NPY_1_23_API_VERSION
#include <numpy/arrayobject.h>

namespace nb = nanobind;
using lstmkit::Index;
using lstmkit::Outcome;

namespace {

float* numbers(PyObject* array) { return static_cast<float*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(array))); }

/// Steps of an object if it is an array of floats, one behind the other, (width,) for a single step or (T, width) for a
/// block, with these flags; otherwise 0.
Index plain_steps(PyObject* object, bool is_block, Index width, int flags) {
    if (!PyArray_CheckExact(object)) return 0;
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
    if (PyArray_TYPE(array) != NPY_FLOAT || PyArray_NDIM(array) != (is_block ? 2 : 1)) return 0;
    if (PyArray_DIM(array, is_block ? 1 : 0) != width) return 0;
    if (!PyArray_CHKFLAGS(array, flags) || !PyArray_ISNOTSWAPPED(array)) return 0;
    return is_block ? PyArray_DIM(array, 0) : 1;
}

/// The arguments of a call (x, out=None); null where there are none.
struct Arguments {
    PyObject *x = nullptr, *out = nullptr;

    Arguments(PyObject* const* given, Py_ssize_t places, PyObject* names) {
        const Py_ssize_t named = names ? PyTuple_Size(names) : 0;
        if (places < 1 || places + named > 2) return;
        if (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "out") != 0) return;
        x = given[0];
        if (places + named == 2 && given[1] != Py_None) out = given[1];
    }
};

/// The answer to a call with plain arrays; null if the fallback must see to it.
PyObject* answer(BoundStream& bound, const Arguments& given, bool is_block) {
    const lstmkit::StreamWeights& weights = *bound.weights;
    const Index steps = plain_steps(given.x, is_block, weights.inputs(), NPY_ARRAY_CARRAY_RO);
    if (steps == 0) return nullptr;
    if (given.out && plain_steps(given.out, is_block, weights.outputs(), NPY_ARRAY_CARRAY) != steps) return nullptr;
    const npy_intp shape[] = {steps, weights.outputs()};
    PyObject* out = given.out ? given.out : PyArray_SimpleNew(is_block ? 2 : 1, shape + (is_block ? 0 : 1), NPY_FLOAT);
    if (!out) throw nb::python_error();
    if (given.out) Py_INCREF(out);
    const float* x = numbers(given.x);
    float* y = numbers(out);
    const Outcome outcome = without_lock(steps, weights, [&] { return bound.stream.run(x, steps, y); });
    if (outcome == Outcome::done) return out;
    Py_DECREF(out);
    static_cast<void>(is_done(outcome));
    return nullptr;
}

template <bool is_block>
PyObject* call(PyObject* self, PyObject* const* given, Py_ssize_t places, PyObject* names) noexcept {
    BoundStream& bound = *nb::inst_ptr<BoundStream>(self);
    const Arguments arguments(given, places, names);
    if (!arguments.x) {
        PyErr_SetString(PyExc_TypeError, "expected the arguments (x) or (x, out)");
        return nullptr;
    }
    try {
        if (PyObject* out = answer(bound, arguments, is_block)) return out;
        const nb::handle out = arguments.out ? arguments.out : Py_None;
        const nb::object& fallback = is_block ? bound.run_fallback : bound.step_fallback;
        return fallback(nb::handle(self), nb::handle(arguments.x), out).release().ptr();
    } catch (nb::python_error& error) {
        error.restore();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

template <bool is_block>
PyCFunction as_method() {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call<is_block>));
}

// The garbage collector must see the fallbacks, whose module may hold the stream.
int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(Py_TYPE(self));
    if (!nb::inst_ready(self)) return 0;
    Py_VISIT(nb::inst_ptr<BoundStream>(self)->step_fallback.ptr());
    Py_VISIT(nb::inst_ptr<BoundStream>(self)->run_fallback.ptr());
    return 0;
}

int clear(PyObject* self) noexcept {
    if (!nb::inst_ready(self)) return 0;
    nb::inst_ptr<BoundStream>(self)->step_fallback.reset();
    nb::inst_ptr<BoundStream>(self)->run_fallback.reset();
    return 0;
}

constexpr int convention = METH_FASTCALL | METH_KEYWORDS;
PyMethodDef methods[] = {
    {"step", as_method<false>(), convention, "step(x, out=None)\n--\n\nOne step (I,) -> (O,), into `out` or a new array."},
    {"run", as_method<true>(), convention, "run(x, out=None)\n--\n\nSteps (T, I) -> (T, O), into `out` or a new array."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyType_Slot step_slots[] = {
    {Py_tp_methods, methods},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {0, nullptr},
};

void import_numpy() {
    if (_import_array() < 0) throw nb::python_error();
}
