// Which sanitizer this was built with: g++ 12 defines a macro, clang has a feature.
#pragma once

#include <gtest/gtest.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PMEMD_UNDER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define PMEMD_UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PMEMD_UNDER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define PMEMD_UNDER_TSAN 1
#endif

// What TSan can't follow: it knows descriptors by their numbers, and takes those of two tables for
// one; it has a thread of its own; and it delivers signals itself.
#ifdef PMEMD_UNDER_TSAN
#define SKIP_UNDER_TSAN(why) GTEST_SKIP() << "TSan: " << (why)
#else
#define SKIP_UNDER_TSAN(why) (void)0
#endif

namespace pmemd {

// Either's allocator takes terabytes of address space, and keeps what is freed.
#if defined(PMEMD_UNDER_ASAN) || defined(PMEMD_UNDER_TSAN)
inline constexpr bool kHasSanitizer = true;
#else
inline constexpr bool kHasSanitizer = false;
#endif

}  // namespace pmemd
