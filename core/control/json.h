// The JSON of calls and replies. Its destructor can't fail.
//
// nlohmann's destructor takes the children apart on a stack, a std::vector<Json>, for which it
// allocates; it is noexcept, so a bad_alloc there ends the process. That vector is the only one
// that uses the standard allocator: arrays and objects use JsonAllocator, which is an ordinary one.
// So the standard allocator is specialized here to allocate in a MustAllocate section. (A program
// may do so, [namespace.std]: Json is one of its own types.)
//
// The reserve is enough for lists of 50,000. Longer ones are taken apart first: take_apart().
//
// If push_back() or [] runs out of memory while it turns a null into an array or object, the value
// is left broken, and its destructor ends the process: so start with Json::array(), Json::object().
//
// Thread contract: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/memory.h"

namespace pmemd {

template <class T>
struct JsonAllocator {
  using value_type = T;

  JsonAllocator() = default;
  template <class U>
  JsonAllocator(const JsonAllocator<U>& /*other*/) {}  // NOLINT(google-explicit-constructor)

  T* allocate(size_t count) {
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(::operator new(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t count) { ::operator delete(memory, count * sizeof(T)); }

  template <class U>
  bool operator==(const JsonAllocator<U>& /*other*/) const {
    return true;
  }
};

// Keys keep the order in which they were set: ndctl's order is part of what people read.
using Json = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool, int64_t,
                                  uint64_t, double, JsonAllocator>;

}  // namespace pmemd

template <>
struct std::allocator<pmemd::Json> : pmemd::JsonAllocator<pmemd::Json> {
  allocator() = default;
  template <class U>
  allocator(const std::allocator<U>& /*other*/) {}  // NOLINT(google-explicit-constructor)

  pmemd::Json* allocate(size_t count) {
    const pmemd::MustAllocate in_a_destructor;
    return pmemd::JsonAllocator<pmemd::Json>::allocate(count);
  }
};

namespace pmemd {

// Empties arrays and objects without allocating, using one stack frame per level.
inline void take_apart(Json& json) {
  if (auto* const array = json.get_ptr<Json::array_t*>()) {
    for (; !array->empty(); array->pop_back()) take_apart(array->back());
  } else if (auto* const object = json.get_ptr<Json::object_t*>()) {
    for (; !object->empty(); object->pop_back()) take_apart(object->back().second);
  }
}

}  // namespace pmemd
