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

/// Whether an object is an array of `count` floats, one behind the other, with these flags.
bool is_plain(PyObject* object, Index count, int flags) {
    if (!PyArray_CheckExact(object)) return false;
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
    return PyArray_TYPE(array) == NPY_FLOAT && PyArray_NDIM(array) == 1 && PyArray_DIM(array, 0) == count &&
           PyArray_CHKFLAGS(array, flags) && PyArray_ISNOTSWAPPED(array);
}

/// The arguments of step(x, out=None); null where there are none.
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

PyObject* run_step(BoundStream& bound, const Arguments& given) {
    const lstmkit::StreamWeights& weights = *bound.weights;
    if (!is_plain(given.x, weights.inputs(), NPY_ARRAY_CARRAY_RO)) return nullptr;
    if (given.out && !is_plain(given.out, weights.outputs(), NPY_ARRAY_CARRAY)) return nullptr;
    npy_intp count = weights.outputs();
    PyObject* out = given.out ? given.out : PyArray_SimpleNew(1, &count, NPY_FLOAT);
    if (!out) throw nb::python_error();
    if (given.out) Py_INCREF(out);
    const float* x = numbers(given.x);
    float* y = numbers(out);
    const Outcome outcome = without_lock(weights.work(), [&] { return bound.stream.step(x, y); });
    if (outcome == Outcome::done) return out;
    Py_DECREF(out);
    static_cast<void>(is_done(outcome));
    return nullptr;
}

PyObject* step(PyObject* self, PyObject* const* given, Py_ssize_t places, PyObject* names) noexcept {
    BoundStream& bound = *nb::inst_ptr<BoundStream>(self);
    const Arguments arguments(given, places, names);
    if (!arguments.x) {
        PyErr_SetString(PyExc_TypeError, "expected step(x) or step(x, out=...)");
        return nullptr;
    }
    try {
        if (PyObject* out = run_step(bound, arguments)) return out;
        const nb::handle out = arguments.out ? arguments.out : Py_None;
        return bound.fallback(nb::handle(self), nb::handle(arguments.x), out).release().ptr();
    } catch (nb::python_error& error) {
        error.restore();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

// The garbage collector must see the fallback, whose module may hold the stream.
int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(Py_TYPE(self));
    if (nb::inst_ready(self)) Py_VISIT(nb::inst_ptr<BoundStream>(self)->fallback.ptr());
    return 0;
}

int clear(PyObject* self) noexcept {
    if (nb::inst_ready(self)) nb::inst_ptr<BoundStream>(self)->fallback.reset();
    return 0;
}

PyMethodDef methods[] = {
    {"step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(step)), METH_FASTCALL | METH_KEYWORDS,
     "step(x, out=None)\n--\n\nOne step (I,) -> (O,), into `out` or a new array."},
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
