#include "attention_pool.h"

#include <nanobind/stl/string.h>

#include <string>
#include <tuple>

#include "addresses.h"
#include "chosen.h"
#include "lstmkit/attention_pool.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

namespace {

// T, B, F, U; lengths; x; weight, bias, v
using PoolAt = std::tuple<Index, Index, Index, Index, Address, SequenceAt, Address, Address, Address>;

template <typename P>
lstmkit::AttentionPool<P> pool_of(const PoolAt& at) {
    using Real = const lstmkit::Real<P>;
    const auto& [T, B, F, U, lengths, x, weight, bias, v] = at;
    return {T, B, F, U, pointer<const std::int64_t>(lengths), sequence<const lstmkit::Stored<P>>(x), pointer<Real>(weight), pointer<Real>(bias), pointer<Real>(v)};
}

template <typename Job>
void run(const Job& job, int threads, const std::string& instruction_set) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    const auto& pool = job.pool;
    const Unlocked unlocked(double(pool.steps) * double(pool.batch) * double(pool.features) * double(pool.units));
    lstmkit::run_attention_pool(job, threads, set);
}

void forward(const PoolAt& at, Address pooled, Address shares, Address hidden, int threads, const std::string& instruction_set,
             const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64, lstmkit::BFloat16>("attention", precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run(lstmkit::AttentionPoolForward<P>{pool_of<P>(at), pointer<Real>(pooled), pointer<Real>(shares), pointer<Real>(hidden)}, threads,
            instruction_set);
    });
}

void backward(const PoolAt& at, Address shares, Address hidden, Address grad_pooled, Address grad_shares, const SequenceAt& dx, Address dweight,
              Address dbias, Address dv, int threads, const std::string& instruction_set, const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64, lstmkit::BFloat16>("attention", precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run(lstmkit::AttentionPoolBackward<P>{pool_of<P>(at), pointer<const Real>(shares), pointer<const Real>(hidden),
                                              pointer<const Real>(grad_pooled), pointer<const Real>(grad_shares),
                                              sequence<lstmkit::Stored<P>>(dx), pointer<Real>(dweight), pointer<Real>(dbias), pointer<Real>(dv)},
            threads, instruction_set);
    });
}

}  // namespace

void bind_attention_pool(nb::module_& module) {
    module.def("attention_pool_forward", &forward, nb::arg("pool"), nb::arg("pooled"), nb::arg("shares"), nb::arg("hidden"), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("attention_pool_backward", &backward, nb::arg("pool"), nb::arg("shares"), nb::arg("hidden"), nb::arg("grad_pooled"),
               nb::arg("grad_shares"), nb::arg("dx"), nb::arg("dweight"), nb::arg("dbias"), nb::arg("dv"), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("attention_pool_width", &lstmkit::hidden_width, nb::arg("units"));
}
