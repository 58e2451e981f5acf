// The model of costs chooses what one would expect of it.
#include "sequence/plan.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "sequence/walk.h"
#include "stream/plan.h"

namespace {

using lstmkit::Course;
using lstmkit::Index;
using lstmkit::Plan;

constexpr lstmkit::TileSizes wide{16, 6, 1, 64}, narrow{4, 4, 1, 16};

Course course(Index steps, Index batch, Index inputs, Index units) {
    return {steps, batch, inputs, units, units, false, nullptr, nullptr, false};
}

Course projected(Course layer, Index outputs) {
    layer.projected = true, layer.outputs = outputs;
    return layer;
}

bool is(const Plan& plan, int threads, int row_shares, int unit_shares) {
    return plan.threads == threads && plan.row_shares == row_shares && plan.unit_shares == unit_shares;
}

void little_work_stays_on_one_thread() {
    for (const lstmkit::TileSizes& tile : {wide, narrow}) {
        check(is(plan_layer(course(1, 1, 8, 64), 1, 8, tile), 1, 1, 1), "one small step");
        check(is(plan_layer(course(5, 4, 16, 16), 1, 8, tile), 1, 1, 1), "few small steps");
        check(is(plan_layer(course(100, 64, 64, 64), 1, 1, tile), 1, 1, 1), "much work, but one thread");
        check(is(plan_layer(course(50, 0, 64, 64), 1, 8, tile), 1, 1, 1), "no rows");
    }
    const std::vector<std::int64_t> none(64, 0);
    Course layer = course(100, 64, 64, 64);
    layer.lengths = none.data();
    check(is(plan_layer(layer, 1, 8, wide), 1, 1, 1), "padding is no work");
}

void rows_or_units_are_divided() {
    check(is(plan_layer(course(100, 64, 64, 64), 1, 2, wide), 2, 2, 1), "many rows of few units: rows");
    check(is(plan_layer(course(96, 1024, 64, 64), 1, 4, wide), 4, 4, 1), "very many rows: rows");
    check(is(plan_layer(course(100, 1, 256, 256), 1, 2, wide), 2, 1, 2), "one row of many units: units");
    check(is(plan_layer(course(100, 2, 512, 512), 1, 4, wide), 4, 1, 4), "two rows of very many units: units");
    check(plan_layer(course(4000, 1, 1, 20), 1, 8, wide).unit_shares <= 2, "no more shares than blocks of units");
}

void weights_stay_with_the_core_that_arranged_them() {
    check(is(plan_layer(course(1, 16, 256, 256), 1, 2, wide), 2, 1, 2), "one step of some rows: units");
    check(is(plan_layer(course(8, 16, 512, 512), 1, 2, wide), 2, 1, 2), "few steps of many weights: units");
    check(is(plan_layer(course(96, 16, 128, 128), 1, 2, wide), 2, 2, 1), "many steps pay for them: rows");
    check(is(plan_layer(course(96, 64, 512, 512), 1, 2, wide), 2, 2, 1), "outputs would be handed over at every step: rows");
    check(is(plan_layer(course(1, 512, 128, 128), 1, 2, wide), 2, 1, 2), "outputs of one step are fewer than the weights: units");
    check(is(plan_layer(course(1, 512, 128, 128), 1, 2, wide, false, 4), 2, 2, 1), "the gradients of its sums are not: rows");
}

void a_projection_never_divides_units() {
    for (Index batch : {1, 2, 64})
        for (int threads : {1, 2, 8}) {
            const Plan plan = plan_layer(projected(course(100, batch, 256, 512), 64), 1, threads, wide);
            check(plan.unit_shares == 1 && plan.row_shares <= batch && plan.threads <= threads, "rows of a projected layer");
        }
}

void directions_run_side_by_side() {
    check(is(plan_layer(course(100, 64, 64, 64), 2, 2, wide), 2, 1, 1), "one thread for each direction");
    check(is(plan_layer(course(100, 64, 64, 64), 2, 4, wide), 4, 2, 1), "two threads for each direction");
    check(is(plan_layer(course(100, 1, 64, 64), 2, 2, wide), 2, 1, 1), "one row in each direction");
    check(is(plan_layer(projected(course(100, 1, 64, 64), 32), 2, 8, wide), 2, 1, 1), "no more threads than shares");
}

void every_plan_can_be() {
    for (int threads : {-5, 0, 1, 3, 64, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()})
        for (int directions : {1, 2})
            for (Index batch : {1, 2, 7, 300, 100'000})
                for (Index units : {1, 15, 16, 17, 1000}) {
                    const Plan plan = plan_layer(course(1000, batch, 30, units), directions, threads, wide);
                    const std::string what = std::to_string(threads) + " threads, B=" + std::to_string(batch) + " H=" + std::to_string(units);
                    check(plan.threads >= 1 && plan.threads <= std::max(threads, 1), what + ": threads");
                    check(plan.row_shares >= 1 && plan.row_shares <= batch, what + ": shares of rows");
                    check(plan.unit_shares >= 1 && plan.unit_shares <= (units + 15) / 16, what + ": shares of units");
                    check(plan.row_shares == 1 || plan.unit_shares == 1, what + ": one kind of shares");
                    check(plan.threads <= 1024, what + ": no more than any machine has");
                }
}

void costs_rise_with_work() {
    const Course layer = course(1, 64, 64, 64);
    for (Index rows = 1; rows < 200; ++rows)
        check(step_cycles(layer, rows + 1, 4, wide) >= step_cycles(layer, rows, 4, wide), "more rows cost no less");
    check(step_cycles(layer, 8, 8, wide) > step_cycles(layer, 8, 4, wide), "more units cost more");
    check(step_cycles(course(1, 1, 600, 600), 1, 38, wide) > 38 * step_cycles(course(1, 1, 600, 600), 1, 1, wide) * 1.5,
          "weights beyond the caches cost more than their number");
}

constexpr double native_cycles = 0.8, emulated_cycles = 2.6;

/// I = H units in vectors of so many words, each word of so many numbers.
lstmkit::StepWeights stream_weights(Index units, Index ways, Index lanes = 16, double cycles = native_cycles) {
    return {(units + lanes - 1) / lanes, 4 * 2 * ((units + ways - 1) / ways), 4 * lanes, cycles};
}

/// Sizes whose gain was measured: at least 1.25 where shared, less where not.
void a_stream_is_shared_where_two_threads_were_faster() {
    constexpr Index float32 = 1, bfloat16 = 2, int8 = 4;
    for (const auto& [ways, alone, shared] : {std::array<Index, 3>{float32, 48, 96}, {bfloat16, 64, 112}, {int8, 96, 192}}) {
        const std::string what = std::to_string(ways) + " numbers to a word";
        for (Index units = 1; units <= alone; ++units)
            check(!is_worth_sharing(stream_weights(units, ways)), what + ", alone at " + std::to_string(units));
        for (Index units = shared; units <= 2048; ++units)
            check(is_worth_sharing(stream_weights(units, ways)), what + ", shared at " + std::to_string(units));
    }
    check(is_worth_sharing(stream_weights(96, int8, 4, emulated_cycles)), "slow arithmetic is shared earlier");
    check(!lstmkit::is_worth_sharing({1, 100'000, 64, native_cycles}), "one block cannot be shared");
    check(!lstmkit::is_worth_sharing({2, 100'000, 64, native_cycles}), "nor a pair of them");
}

void a_step_costs_more_the_more_it_reads() {
    double before = 0;
    for (Index units = 16; units <= 1024; units += 16) {
        const lstmkit::StepWeights weights = stream_weights(units, 1);
        const double cycles = step_cycles(weights, weights.blocks);
        check(cycles > before, "more units, more cycles");
        check(step_cycles(weights, weights.blocks / 2) <= cycles / 2, "half the blocks cost at most half");
        before = cycles;
    }
    check(lstmkit::step_cycles({0, 0, 64, native_cycles}, 0) == 0, "nothing costs nothing");
}

/// Every row is in one share, and shares of uneven rows of up to 100 steps end together, where a step counts as two rows.
void uneven_rows_are_shared_evenly() {
    for (Index batch : {1, 2, 7, 16, 31, 32, 47})
        for (int count : {1, 2, 3, 5}) {
            std::vector<std::int64_t> lengths;
            for (Index b = 0; b < batch; ++b) lengths.push_back(10 + 90 * b / batch);
            Course layer = course(100, batch, 8, 16);
            layer.lengths = lengths.data();
            std::vector<Index> order(lengths.size());
            lstmkit::order_rows(layer, order.data());
            std::vector<Index> work;
            Index row = 0;
            for (int share = 0; share < count; ++share) {
                const lstmkit::Range rows = lstmkit::cut_share(layer, order.data(), share, count, wide.rows);
                check(rows.first == row && rows.last >= row, "each share begins where the one before it ends");
                work.push_back(rows.size() > 0 ? 2 * lengths[std::size_t(order[std::size_t(rows.first)])] : 0);
                for (; row < rows.last; ++row) work.back() += lengths[std::size_t(order[std::size_t(row)])];
            }
            check(row == batch, "all rows have a share");
            const auto [least, most] = std::minmax_element(work.begin(), work.end());
            if (batch >= 4 * count) check(*most - *least <= 80, std::to_string(batch) + " rows in " + std::to_string(count) + " even shares");
        }
}

void halves_of_a_stream_are_even_pairs() {
    for (Index blocks = 0; blocks < 100; ++blocks) {
        const Index first = lstmkit::first_half(blocks), second = blocks - first;
        check(first % 2 == 0 && std::abs(first - second) <= 2, "halves of " + std::to_string(blocks) + " blocks");
    }
}

}  // namespace

int main() {
    a_stream_is_shared_where_two_threads_were_faster();
    a_step_costs_more_the_more_it_reads();
    halves_of_a_stream_are_even_pairs();
    uneven_rows_are_shared_evenly();
    little_work_stays_on_one_thread();
    rows_or_units_are_divided();
    weights_stay_with_the_core_that_arranged_them();
    a_projection_never_divides_units();
    directions_run_side_by_side();
    every_plan_can_be();
    costs_rise_with_work();
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
