// One damage to a pool's files, made from a seed: the same seed, the same damage.
//
// Thread contract: one thread; nobody has the pool open.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace pmemd {

enum class DamageKind {
  kValue,     // a column of a row of pool.db gets another value: wild, or a neighbour's
  kRow,       // a row goes, or comes twice under another key
  kDatabase,  // bits, pages, the end of pool.db
  kWal,       // the same of its WAL, as a kill has left it
  kImage,     // the same of an image's info blocks
  kData,      // bits of an image's data
};
constexpr std::array kDamageKinds = {DamageKind::kValue, DamageKind::kRow,   DamageKind::kDatabase,
                                     DamageKind::kWal,   DamageKind::kImage, DamageKind::kData};
const char* name_of(DamageKind kind);
inline void PrintTo(DamageKind kind, std::ostream* out) { *out << name_of(kind); }  // GoogleTest's

// Of kValue, how many damages there are; the `index` of each says which column and which value.
uint64_t value_damages();

// Does it to the pool in `directory`; in words, what was done. Nothing: SQLite refused it.
std::optional<std::string> damage(const std::string& directory, DamageKind kind, uint64_t index,
                                  uint64_t seed);

// Whether a damage (in damage()'s words) is to `extents` alone, which say where bytes lie: of what
// was disabled cleanly nothing of it is served.
bool is_of_extents(DamageKind kind, const std::string& what);

}  // namespace pmemd
