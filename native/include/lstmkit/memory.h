// Memory that is used again instead of being given back: a first touch of a page costs more than the arithmetic on it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <new>
#include <utility>

namespace lstmkit {

/// At least `bytes` bytes at a multiple of 64, with any content; `bytes` becomes how many there are. Thread-safe, also across a
/// fork. Throws std::bad_alloc.
void* take_memory(std::size_t& bytes);

/// Gives back what take_memory returned, with the bytes that it named; it is kept for the next taker up to a limit.
void give_memory(void* memory, std::size_t bytes) noexcept;

/// Frees all that is kept and in nobody's use.
void release_memory() noexcept;

/// An array in pooled memory; its content is undefined at first.
template <typename T>
class Array {
public:
    /// Throws std::bad_alloc, also for a count that no memory could hold.
    explicit Array(std::ptrdiff_t count) : bytes_(bytes_of(count)), data_(static_cast<T*>(take_memory(bytes_))) {}
    Array(Array&& other) noexcept : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
    ~Array() {
        if (data_) give_memory(data_, bytes_);
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    T* data() const noexcept { return data_; }
    T& operator[](std::ptrdiff_t k) const noexcept { return data_[k]; }

private:
    static std::size_t bytes_of(std::ptrdiff_t count) {
        if (count < 0 || count > std::numeric_limits<std::ptrdiff_t>::max() / static_cast<std::ptrdiff_t>(sizeof(T)))
            throw std::bad_alloc();
        return sizeof(T) * static_cast<std::size_t>(count);
    }

    std::size_t bytes_;
    T* data_;
};

/// An array of zeros.
template <typename T>
Array<T> zeros(std::ptrdiff_t count) {
    Array<T> values(count);
    std::fill_n(values.data(), count, T{});
    return values;
}

}  // namespace lstmkit
