// Several threads for one call.
#pragma once

namespace lstmkit {

/// Calls work(context, share) once for each share in 0..shares, on up to `shares` threads, and returns when all are done.
/// Uses the OpenMP team of the process where there is one, because its threads spin for a while after each region and
/// would fight a second team for the processors. `work` must not throw. In a forked child it runs everything itself.
void run_shares(int shares, void (*work)(void* context, int share) noexcept, void* context);

/// The same for a callable.
template <typename Work>
void run_shares(int shares, Work work) {
    run_shares(shares, [](void* context, int share) noexcept { (*static_cast<Work*>(context))(share); }, &work);
}

}  // namespace lstmkit
