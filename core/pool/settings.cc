#include "core/pool/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <functional>
#include <memory>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/pool/columns.h"

namespace pmemd {
namespace {

FaultPoint fault_write("configure.write", "writing settings to pool.db");

constexpr std::array<std::string_view, 3> kClearUnits = {"512", "256", "4096"};
constexpr std::array<std::string_view, 2> kYesNo = {"yes", "no"};
constexpr std::array<std::string_view, 2> kOnMetadata = {"shutdown", "degraded"};
constexpr std::array<std::string_view, 2> kRefault = {"mceerr", "adrerr"};
constexpr std::array<std::string_view, 2> kKill = {"late", "early"};

constexpr std::array kInfos = {
    SettingInfo{"clear-unit", kClearUnits,
                "bytes that must be written at once to make bad memory good"},
    SettingInfo{"clearable", kYesNo, "whether writing makes bad memory good at all"},
    SettingInfo{"on-metadata", kOnMetadata,
                "what the file system does when its metadata fails: shuts down, or carries on"},
    SettingInfo{"refault", kRefault,
                "what a second touch of bad memory raises: BUS_MCEERR_AR, or BUS_ADRERR"},
    SettingInfo{"kill", kKill,
                "when mappers without a PR_MCE_KILL policy are told: on touch, or at once"},
    SettingInfo{"holder", kYesNo, "whether the file system is told of failures (ext4's isn't)"},
    SettingInfo{"rmap", kYesNo,
                "whether the file system knows which files are hit (XFS with rmapbt does)"},
};

// The value as an index into the setting's values, to and from the field.
struct Field {
  size_t (*get)(const NamespaceSettings&);
  void (*set)(NamespaceSettings&, size_t);
};

template <auto Member>
constexpr Field kEnumField = {
    [](const NamespaceSettings& settings) { return static_cast<size_t>(settings.*Member); },
    [](NamespaceSettings& settings, size_t index) {
      using Value = std::remove_reference_t<decltype(settings.*Member)>;
      settings.*Member = static_cast<Value>(index);
    }};

template <auto Member>
constexpr Field kYesNoField = {
    [](const NamespaceSettings& settings) -> size_t { return settings.*Member ? 0 : 1; },
    [](NamespaceSettings& settings, size_t index) { settings.*Member = index == 0; }};

constexpr std::array<uint64_t, 3> kClearUnitBytes = {512, 256, 4096};
constexpr Field kClearUnitField = {
    [](const NamespaceSettings& settings) -> size_t {
      return static_cast<size_t>(std::ranges::find(kClearUnitBytes, settings.clear_unit_bytes) -
                                 kClearUnitBytes.begin());
    },
    [](NamespaceSettings& settings, size_t index) {
      settings.clear_unit_bytes = kClearUnitBytes[index];
    }};

// As kInfos.
constexpr std::array kFields = {kClearUnitField,
                                kYesNoField<&NamespaceSettings::clearable>,
                                kEnumField<&NamespaceSettings::on_metadata>,
                                kEnumField<&NamespaceSettings::refault>,
                                kEnumField<&NamespaceSettings::kill>,
                                kYesNoField<&NamespaceSettings::holder>,
                                kYesNoField<&NamespaceSettings::rmap>};
static_assert(kFields.size() == kInfos.size());

constexpr std::array kProfiles = {
    ProfileInfo{"before-6.5", "refault=adrerr", "Linux before 6.5: a second touch is BUS_ADRERR"},
    ProfileInfo{"6.5+", "refault=mceerr", "Linux 6.5 and later: it is BUS_MCEERR_AR again"},
    ProfileInfo{"ext4", "holder=no rmap=no", "a file system that is not told, as ext4"},
    ProfileInfo{"xfs", "holder=yes rmap=yes", "one that is, and knows its files, as XFS"},
};

size_t index_of(std::string_view name) {
  return static_cast<size_t>(std::ranges::find(kInfos, name, &SettingInfo::name) - kInfos.begin());
}

template <class Rows, class Name>
std::string names_of(const Rows& rows, Name name) {
  std::vector<std::string_view> names;
  names.reserve(rows.size());
  for (const auto& row : rows) names.push_back(std::invoke(name, row));
  return fmt::format("{}", fmt::join(names, ", "));
}

// "6.1", "6.12": sets whether that kernel is before 6.5. False: not a version.
bool parse_kernel_version(std::string_view text, bool& is_before_6_5) {
  unsigned major = 0, minor = 0;
  const char* const begin = std::to_address(text.begin());
  const char* const end = std::to_address(text.end());
  const auto [dot, bad_major] = std::from_chars(begin, end, major);
  if (bad_major != std::errc() || dot == end || *dot != '.') return false;
  const auto [last, bad_minor] = std::from_chars(dot + 1, end, minor);
  if (bad_minor != std::errc() || last != end) return false;
  is_before_6_5 = major < 6 || (major == 6 && minor < 5);
  return true;
}

}  // namespace

std::span<const SettingInfo> setting_infos() { return kInfos; }

std::span<const ProfileInfo> profile_infos() { return kProfiles; }

Result<std::vector<SettingChange>> parse_settings(std::string_view text) {
  std::vector<SettingChange> changes;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty()) continue;
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return fail(EINVAL, fmt::format("'{}': not NAME=VALUE", word),
                  "names: " + names_of(kInfos, &SettingInfo::name));
    }
    changes.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return changes;
}

Result<std::vector<SettingChange>> settings_of_profile(std::string_view name) {
  bool is_before_6_5 = false;
  if (parse_kernel_version(name, is_before_6_5)) name = is_before_6_5 ? "before-6.5" : "6.5+";
  const auto* const found = std::ranges::find(kProfiles, name, &ProfileInfo::name);
  if (found == kProfiles.end()) {
    return fail(EINVAL, fmt::format("profile '{}': none of {}, or a kernel's version as 6.1", name,
                                    names_of(kProfiles, &ProfileInfo::name)));
  }
  return parse_settings(found->settings);
}

std::string_view value_of(const NamespaceSettings& settings, std::string_view name) {
  const size_t setting = index_of(name);
  assert(setting < kInfos.size());
  return kInfos[setting].values[kFields[setting].get(settings)];
}

Result<void> set_value(NamespaceSettings& settings, std::string_view name, std::string_view value) {
  const size_t setting = index_of(name);
  if (setting == kInfos.size()) {
    return fail(EINVAL, fmt::format("setting '{}': none of {}", name,
                                    names_of(kInfos, &SettingInfo::name)));
  }
  const auto& values = kInfos[setting].values;
  const auto found = std::ranges::find(values, value);
  if (found == values.end()) {
    return fail(EINVAL, fmt::format("setting {}: '{}' is none of {}", name, value,
                                    fmt::join(values, ", ")));
  }
  kFields[setting].set(settings, static_cast<size_t>(found - values.begin()));
  return {};
}

Result<std::unique_ptr<SettingsTable>> SettingsTable::load(Database& db) {
  std::unique_ptr<SettingsTable> table(new SettingsTable(db));
  PMEMD_TRY(table->read_rows());
  return table;
}

Result<void> SettingsTable::read_rows() {
  MutexLock db_lock(db_.mutex());
  // A pool of an older version, opened by a reader, has no such table.
  PMEMD_ASSIGN(const bool found, db_.has_table("settings"));
  if (!found) return {};
  PMEMD_ASSIGN(Statement rows, db_.prepare("SELECT serial, name, value FROM settings"));
  MutexLock lock(mutex_);
  for (;;) {
    PMEMD_ASSIGN(const bool more, rows.step());
    if (!more) return {};
    RowReader reader(rows);
    const auto serial = reader.number(0, columns::kSettingSerial);
    const auto name = reader.bytes(1, columns::kSettingName);
    const auto value = reader.bytes(2, columns::kSettingValue);
    PMEMD_TRY(reader.done());
    if (const auto set = set_value(by_serial_[serial], name, value); !set) {
      return fail(EIO,
                  fmt::format("pool.db: settings of serial {}: {}", serial, set.error().message),
                  kDamagedHint);
    }
  }
}

NamespaceSettings SettingsTable::get(uint64_t serial) const {
  MutexLock lock(mutex_);
  const auto found = by_serial_.find(serial);
  return found == by_serial_.end() ? NamespaceSettings() : found->second;
}

Result<void> SettingsTable::set(uint64_t serial, const std::vector<SettingChange>& changes) {
  if (changes.empty()) return {};
  PMEMD_TRY(write(serial, changes));
  return db_.sync();
}

Result<void> SettingsTable::write(uint64_t serial, const std::vector<SettingChange>& changes) {
  MutexLock change(change_mutex_);
  NamespaceSettings settings = get(serial);
  for (const auto& [name, value] : changes) PMEMD_TRY(set_value(settings, name, value));
  PMEMD_TRY(fault_write.hit());
  {
    Transaction transaction(db_);
    PMEMD_TRY(transaction.begin());
    PMEMD_ASSIGN(Statement put, db_.prepare("INSERT OR REPLACE INTO settings (serial, name, value)"
                                            " VALUES (?, ?, ?)"));
    for (const auto& [name, value] : changes) {
      put.bind(0, static_cast<int64_t>(serial)).bind_text(1, name).bind_text(2, value);
      PMEMD_TRY(put.run());
    }
    PMEMD_TRY(transaction.commit());
  }
  const MustAllocate committed;
  MutexLock lock(mutex_);
  by_serial_[serial] = settings;
  return {};
}

Result<void> SettingsTable::erase(uint64_t serial) {
  MutexLock change(change_mutex_);
  {
    Transaction transaction(db_);
    PMEMD_TRY(transaction.begin());
    PMEMD_ASSIGN(Statement drop, db_.prepare("DELETE FROM settings WHERE serial = ?"));
    PMEMD_TRY(drop.bind(0, static_cast<int64_t>(serial)).run());
    PMEMD_TRY(transaction.commit());
  }
  MutexLock lock(mutex_);
  by_serial_.erase(serial);
  return {};
}

}  // namespace pmemd
