// Settings of namespaces: what there is, what lasts, and every way to be refused.
#include "core/pool/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <set>

#include "core/base/fault.h"
#include "core/pool/pool.h"
#include "tests/unit/failing_call.h"
#include "tests/unit/pool/pool_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

TEST(NamespaceSettings, EachSettingTakesEachOfItsValuesAndItsFirstIsTheDefault) {
  const NamespaceSettings defaults;
  std::set<std::string_view> names;
  for (const SettingInfo& info : setting_infos()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.help.empty());
    EXPECT_EQ(value_of(defaults, info.name), info.values.front()) << info.name;
    for (const std::string_view value : info.values) {
      NamespaceSettings settings;
      ASSERT_TRUE(set_value(settings, info.name, value)) << info.name << "=" << value;
      EXPECT_EQ(value_of(settings, info.name), value);
      // That one, and no other.
      EXPECT_EQ(settings == defaults, value == info.values.front()) << info.name << "=" << value;
      for (const SettingInfo& other : setting_infos()) {
        if (other.name == info.name) continue;
        EXPECT_EQ(value_of(settings, other.name), other.values.front()) << other.name;
      }
    }
  }
}

TEST(NamespaceSettings, TheWordsMeanWhatTheFieldsSay) {
  NamespaceSettings settings;
  const auto changes = parse_settings(
      "clear-unit=4096 clearable=no on-metadata=degraded refault=adrerr kill=early holder=no "
      "rmap=no");
  ASSERT_TRUE(changes);
  for (const auto& [name, value] : *changes) ASSERT_TRUE(set_value(settings, name, value));
  EXPECT_EQ(settings, (NamespaceSettings{.clear_unit_bytes = 4096,
                                         .clearable = false,
                                         .on_metadata = OnMetadata::kDegraded,
                                         .refault = Refault::kAdrErr,
                                         .kill = KillPolicy::kEarly,
                                         .holder = false,
                                         .rmap = false}));
  ASSERT_TRUE(set_value(settings, "clear-unit", "256"));
  EXPECT_EQ(settings.clear_unit_bytes, 256);
}

TEST(NamespaceSettings, AnUnknownNameOrValueIsEinvalAndNamesThoseThatThereAre) {
  NamespaceSettings settings;
  auto refused = set_value(settings, "clear-units", "512");
  EXPECT_EQ(refused.err(), EINVAL);
  EXPECT_THAT(refused.error().message, HasSubstr("clear-unit, clearable"));
  refused = set_value(settings, "kill", "soon");
  EXPECT_EQ(refused.err(), EINVAL);
  EXPECT_THAT(refused.error().message, HasSubstr("'soon' is none of late, early"));
  EXPECT_EQ(set_value(settings, "clear-unit", "0512").err(), EINVAL);
  EXPECT_EQ(set_value(settings, "", "").err(), EINVAL);
  EXPECT_EQ(settings, NamespaceSettings());
}

TEST(NamespaceSettings, WordsAreParsed) {
  EXPECT_EQ(parse_settings(""), std::vector<SettingChange>());
  EXPECT_EQ(*parse_settings("  a=b   c=d=e f= "),
            (std::vector<SettingChange>{{"a", "b"}, {"c", "d=e"}, {"f", ""}}));
  EXPECT_EQ(parse_settings("kill").err(), EINVAL);
  EXPECT_EQ(parse_settings("=late").err(), EINVAL);
}

TEST(NamespaceSettings, ProfilesAreSettings) {
  for (const ProfileInfo& profile : profile_infos()) {
    const auto changes = settings_of_profile(profile.name);
    ASSERT_TRUE(changes) << profile.name;
    NamespaceSettings settings;
    for (const auto& [name, value] : *changes) {
      EXPECT_TRUE(set_value(settings, name, value)) << profile.name;
    }
  }
  EXPECT_EQ(*settings_of_profile("6.1"), *settings_of_profile("before-6.5"));
  EXPECT_EQ(*settings_of_profile("6.4"), *settings_of_profile("before-6.5"));
  EXPECT_EQ(*settings_of_profile("5.19"), *settings_of_profile("before-6.5"));
  EXPECT_EQ(*settings_of_profile("6.5"), *settings_of_profile("6.5+"));
  EXPECT_EQ(*settings_of_profile("6.12"), *settings_of_profile("6.5+"));
  EXPECT_EQ(*settings_of_profile("7.0"), *settings_of_profile("6.5+"));
  for (const char* const name : {"", "6", "6.", "6.x", "6.1.2", "-6.1", "btrfs"}) {
    EXPECT_EQ(settings_of_profile(name).err(), EINVAL) << name;
  }
}

class SettingsOfPool : public PoolFixture {
 protected:
  std::unique_ptr<Pool> create() const { return create_pool(16 * kMiB); }
};

TEST_F(SettingsOfPool, LastAndBelongToOneNamespace) {
  {
    const auto pool = create();
    EXPECT_EQ(pool->settings(1), NamespaceSettings());
    ASSERT_TRUE(pool->set_settings(1, {{"kill", "early"}, {"clear-unit", "256"}}));
    ASSERT_TRUE(pool->set_settings(1, {{"clear-unit", "4096"}}));
    EXPECT_EQ(pool->settings(1).clear_unit_bytes, 4096);
    EXPECT_EQ(pool->settings(2), NamespaceSettings());
  }
  const auto pool = open();
  EXPECT_EQ(pool->settings(1),
            (NamespaceSettings{.clear_unit_bytes = 4096, .kill = KillPolicy::kEarly}));
  EXPECT_EQ(pool->settings(2), NamespaceSettings());
}

TEST_F(SettingsOfPool, OneThatIsWrongChangesNone) {
  const auto pool = create();
  EXPECT_EQ(pool->set_settings(1, {{"kill", "early"}, {"refault", "never"}}).err(), EINVAL);
  EXPECT_EQ(pool->settings(1), NamespaceSettings());
}

TEST_F(SettingsOfPool, WhatCanNotBeWrittenIsNotSet) {
  {
    const auto pool = create();
    ASSERT_TRUE(FaultPoint::arm("configure.write", {}));
    EXPECT_EQ(pool->set_settings(1, {{"kill", "early"}}).err(), EIO);
    EXPECT_EQ(pool->settings(1), NamespaceSettings());
    Result<void> set;
    const bool possible = run_with_failing_call(
        SYS_pwrite64, ENOSPC, [&] { set = pool->set_settings(1, {{"kill", "early"}}); });
    if (possible) {
      EXPECT_NE(set.err(), 0);
      EXPECT_EQ(pool->settings(1), NamespaceSettings());
    }
  }
  EXPECT_EQ(open()->settings(1), NamespaceSettings());
}

TEST_F(SettingsOfPool, GoWithTheirNamespace) {
  {
    const auto pool = create();
    const NamespaceRecord record = pool->namespaces().at(0);
    ASSERT_TRUE(pool->set_settings(record.serial, {{"kill", "early"}}));
    ASSERT_TRUE(pool->destroy_namespace(record));
    EXPECT_EQ(pool->settings(record.serial), NamespaceSettings());
  }
  EXPECT_EQ(open()->settings(1), NamespaceSettings());
}

TEST_F(SettingsOfPool, AReaderSeesThemAndAnOlderPoolHasNone) {
  ASSERT_TRUE(create()->set_settings(1, {{"kill", "early"}}));
  EXPECT_EQ(open(Pool::Mode::kReadOnly)->settings(1).kill, KillPolicy::kEarly);
  change_database("DROP TABLE settings; PRAGMA user_version = 2;");
  EXPECT_EQ(open(Pool::Mode::kReadOnly)->settings(1), NamespaceSettings());
}

TEST_F(SettingsOfPool, ARowThatMeansNothingIsEio) {
  create();
  change_database("INSERT INTO settings VALUES (1, 'kill', 'soon')");
  const auto opened = Pool::open(path_, Pool::Mode::kReadWrite);
  EXPECT_EQ(opened.err(), EIO);
  EXPECT_THAT(opened.error().message, HasSubstr("settings of serial 1: setting kill: 'soon'"));
}

}  // namespace
}  // namespace pmemd
