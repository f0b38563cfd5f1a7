#include "core/events/event_filter.h"

#include <gtest/gtest.h>

namespace pmemd {
namespace {

EventFilter filter(std::string_view namespaces, std::string_view kinds, std::string_view file) {
  auto parsed = EventFilter::parse(namespaces, kinds, file, "/mnt/pmem");
  EXPECT_TRUE(parsed) << parsed.error().describe();
  return parsed.value_or(EventFilter());
}

const Event kOfFile = {.kind = EventKind::kPoison,
                       .name_of_namespace = "namespace0.1",
                       .file = EventFile{"/pmem0.1/db/a", {}}};
const Event kOfDevice = {.kind = EventKind::kEnabled, .name_of_namespace = "namespace0.0"};

TEST(EventFilter, WithoutWordsTakesAll) {
  EXPECT_TRUE(EventFilter().matches(kOfFile));
  EXPECT_TRUE(filter("", "", "").matches(kOfDevice));
  EXPECT_TRUE(filter(",", ",,", "").matches(kOfDevice));
}

TEST(EventFilter, TakesTheNamespacesAndKindsThatAreNamed) {
  EXPECT_TRUE(filter("namespace0.1", "", "").matches(kOfFile));
  EXPECT_FALSE(filter("namespace0.1", "", "").matches(kOfDevice));
  EXPECT_FALSE(filter("namespace0.10,region0,volume0", "", "").matches(kOfDevice));
  EXPECT_TRUE(filter("namespace0.1,namespace0.0", "", "").matches(kOfDevice));
  EXPECT_TRUE(filter("", "poison,cleared", "").matches(kOfFile));
  EXPECT_FALSE(filter("", "poison,cleared", "").matches(kOfDevice));
  EXPECT_FALSE(filter("namespace0.0", "poison", "").matches(kOfDevice));
}

TEST(EventFilter, TakesFilesFromTheRootOrInANamespace) {
  for (const char* const file : {"/pmem0.1/db/a", "/pmem0.1", "/pmem0.1/db/*", "/", "/*/db",
                                 "namespace0.1:/db", "namespace0.1:/db/?", "namespace0.1:/",
                                 "/mnt/pmem/pmem0.1/db", "/mnt/pmem/*/db/a", "/mnt/pmem"}) {
    EXPECT_TRUE(filter("", "", file).matches(kOfFile)) << file;
  }
  for (const char* const file : {"/pmem0.1/d", "/pmem0", "/*b", "namespace0.0:/db",
                                 "namespace0.1:/pmem0.1", "/mnt/pmem/pmem0.1/d"}) {
    EXPECT_FALSE(filter("", "", file).matches(kOfFile)) << file;
  }
}

// Whoever follows a file wants to know that it is gone, and that it is back.
TEST(EventFilter, WhatConcernsAllFilesOfANamespaceMatchesEachOfThem) {
  Event event = {.name_of_namespace = "namespace0.0"};
  for (const EventKind kind : {EventKind::kPreRemove, EventKind::kRemoved, EventKind::kEnabled,
                               EventKind::kShutdown, EventKind::kDestroyed}) {
    event.kind = kind;
    for (const char* const file : {"/pmem0/db/*", "/pmem*/db", "/", "namespace0.0:/db"}) {
      EXPECT_TRUE(filter("", "", file).matches(event)) << to_string(kind) << " " << file;
    }
    for (const char* const file :
         {"/pmem0.1/db", "/pmem1/db", "/vol0/db", "/*b", "namespace0.1:/db"}) {
      EXPECT_FALSE(filter("", "", file).matches(event)) << to_string(kind) << " " << file;
    }
  }
  for (const EventKind kind : {EventKind::kPoison, EventKind::kCleared, EventKind::kScrub}) {
    event.kind = kind;
    EXPECT_FALSE(filter("", "", "/pmem0/db/*").matches(event)) << "each file has one of its own";
  }
  event.kind = EventKind::kRemoved;
  event.name_of_namespace = "volume2";
  EXPECT_TRUE(filter("", "", "/vol2/a").matches(event));
  EXPECT_FALSE(filter("", "", "/vol1/a").matches(event));
  event.name_of_namespace = "namespace1.2";
  EXPECT_TRUE(filter("", "", "/dax1.2").matches(event));
  EXPECT_FALSE(filter("", "", "/dax1.1").matches(event));
}

TEST(EventFilter, WhatMeansNothingIsEinval) {
  const auto parse = [](std::string_view namespaces, std::string_view kinds,
                        std::string_view file) {
    return EventFilter::parse(namespaces, kinds, file, "/mnt/pmem");
  };
  EXPECT_EQ(parse("", "poisoned", "").err(), EINVAL);
  EXPECT_NE(parse("", "poisoned", "").error().message.find("pre-remove, removed"),
            std::string::npos);
  for (const char* const file : {"db/a", "db", "/tmp/a", "/mnt/pmem2/pmem0/a"}) {
    EXPECT_EQ(parse("", "", file).err(), EINVAL) << file;
  }
  EXPECT_EQ(parse("nope", "", "").err(), EINVAL);
  EXPECT_EQ(parse("namespace0.0,namespace0", "", "").err(), EINVAL);
  std::string many;
  for (int i = 0; i < 65; ++i) many += "namespace0.0,";
  EXPECT_EQ(parse(many, "", "").err(), EINVAL);
}

}  // namespace
}  // namespace pmemd
