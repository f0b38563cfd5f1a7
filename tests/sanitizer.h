// Which sanitizer this was built with.
#pragma once

namespace pmemd {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PMEMD_SANITIZER 1
#elif __has_feature(thread_sanitizer)
#define PMEMD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PMEMD_SANITIZER 1
#endif

// Address or thread: its allocator takes terabytes of address space, and keeps what is freed.
#if defined(PMEMD_SANITIZER)
inline constexpr bool kHasSanitizer = true;
#else
inline constexpr bool kHasSanitizer = false;
#endif

}  // namespace pmemd
