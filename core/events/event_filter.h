// Selects the events that a subscriber wants.
//
// Thread contract: a value; constant after parse().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/events/event.h"

namespace pmemd {

class EventFilter {
 public:
  EventFilter() = default;  // all

  // Lists are separated by commas; an empty text means all. `file`: as for parse_file_name()
  // (core/base/file_name.h), with wildcards; paths below it match, too. EINVAL: a text that can't
  // be the name of a namespace, volume or region; no such kind; a file that can't be in the mount;
  // more than kMaxWords in a list.
  static Result<EventFilter> parse(std::string_view namespaces, std::string_view kinds,
                                   std::string_view file, std::string_view mount);

  // An event without a file matches `file` if it is about all files of a namespace that may have
  // that file: pre-remove, removed, enabled, shutdown, destroyed. A failure of part of a namespace
  // has an event for each file.
  bool matches(const Event& event) const;

 private:
  static constexpr size_t kMaxWords = 64;

  std::vector<std::string> namespaces_;
  std::vector<EventKind> kinds_;
  std::string file_namespace_;
  std::string file_;
};

}  // namespace pmemd
