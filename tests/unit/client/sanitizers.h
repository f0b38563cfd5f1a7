// What TSan can't follow: it knows descriptors by their numbers, and takes those of two tables for
// one; it has a thread of its own; and it delivers signals itself.
#pragma once

#include <gtest/gtest.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PMEMD_UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define PMEMD_UNDER_TSAN 1
#endif

#ifdef PMEMD_UNDER_TSAN
#define SKIP_UNDER_TSAN(why) GTEST_SKIP() << "TSan: " << (why)
#else
#define SKIP_UNDER_TSAN(why) (void)0
#endif
