// How a namespace (or volume) behaves when its memory fails: the points in which kernels differ, so
// that a program can be tested against each.
//
// Invariants:
//  1. A change is one transaction, and reaches memory only when that is committed: all of it or
//     nothing.
//  2. A setting that was never set has its default.
//
// Thread contract: NamespaceSettings and the functions: values. SettingsTable: any thread; queries
// never go to the database, so that requests may ask. No lock is held on return.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/database/database.h"

namespace pmemd {

enum class OnMetadata : uint8_t { kShutdown, kDegraded };
enum class Refault : uint8_t { kMceErr, kAdrErr };
enum class KillPolicy : uint8_t { kLate, kEarly };

struct NamespaceSettings {
  uint64_t clear_unit_bytes = 512;  // 256, 512, 4096: written at once, it is good again
  bool clearable = true;            // false: no write makes it good
  OnMetadata on_metadata = OnMetadata::kShutdown;  // when metadata of its file system fails
  Refault refault = Refault::kMceErr;              // what a second touch of poison raises
  KillPolicy kill = KillPolicy::kLate;             // of processes that haven't chosen (PR_MCE_KILL)
  bool holder = true;                              // its file system is told of failures
  bool rmap = true;                                // and knows which files they hit

  bool operator==(const NamespaceSettings&) const = default;
};

// A setting as people see it.
struct SettingInfo {
  std::string_view name;                     // "clear-unit"
  std::span<const std::string_view> values;  // the first is the default
  std::string_view help;
};
std::span<const SettingInfo> setting_infos();

// A preset: the settings of one kernel.
struct ProfileInfo {
  std::string_view name;      // "before-6.5"
  std::string_view settings;  // "refault=adrerr", separated by spaces
  std::string_view help;
};
std::span<const ProfileInfo> profile_infos();

using SettingChange = std::pair<std::string, std::string>;  // name, value

// "kill=early refault=adrerr": words separated by spaces. EINVAL: one has no '=', or no name.
Result<std::vector<SettingChange>> parse_settings(std::string_view text);
// The changes that a profile makes. EINVAL: no such profile; the message lists them all. "6.1" and
// other kernel versions are profiles too.
Result<std::vector<SettingChange>> settings_of_profile(std::string_view name);

// The value of the setting `name`, which must exist (asserted).
std::string_view value_of(const NamespaceSettings& settings, std::string_view name);
// EINVAL: no such setting, or it has no such value; the message lists them all.
Result<void> set_value(NamespaceSettings& settings, std::string_view name, std::string_view value);

// The settings of all namespaces and volumes of a pool, by serial.
class SettingsTable {
 public:
  // Reads the pool's settings; none, from an older pool opened by a reader. EIO: rows that aren't
  // valid settings.
  static Result<std::unique_ptr<SettingsTable>> load(Database& db);
  SettingsTable(const SettingsTable&) = delete;
  SettingsTable& operator=(const SettingsTable&) = delete;

  NamespaceSettings get(uint64_t serial) const PMEMD_EXCLUDES(mutex_);

  // Durable when it returns. EINVAL as set_value(). ENOSPC, EIO: the host's disk; the setting may
  // then be set, but not durable.
  Result<void> set(uint64_t serial, const std::vector<SettingChange>& changes)
      PMEMD_EXCLUDES(change_mutex_, mutex_);
  // Called when the namespace is gone. ENOSPC, EIO: nothing has changed.
  Result<void> erase(uint64_t serial) PMEMD_EXCLUDES(change_mutex_, mutex_);

 private:
  explicit SettingsTable(Database& db) : db_(db) {}
  Result<void> read_rows() PMEMD_EXCLUDES(mutex_);
  Result<void> write(uint64_t serial, const std::vector<SettingChange>& changes)
      PMEMD_EXCLUDES(change_mutex_, mutex_);

  Database& db_;
  Mutex change_mutex_;  // one change at a time; before the database's
  mutable Mutex mutex_;
  std::map<uint64_t, NamespaceSettings> by_serial_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
