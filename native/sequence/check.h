// Whether a call can be: what is checked before anything runs.
#pragma once

#include "lstmkit/layer.h"

namespace lstmkit {

/// Throw std::invalid_argument unless there are 1 or 2 directions of one course, its sizes and lengths can be, what is
/// needed is there, and every buffer is aligned to its numbers. What a buffer holds, or overlaps, is not looked at.
template <typename P>
void check_jobs(const ForwardJob<P>* directions, int count);
template <typename P>
void check_jobs(const BackwardJob<P>* directions, int count);

}  // namespace lstmkit
