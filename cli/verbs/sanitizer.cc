#include "cli/verbs/sanitizer.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/base/unique_fd.h"

namespace pmemd::cli {
namespace {

// The file's first bytes, at most `most`.
std::string read_at(int fd, uint64_t offset, size_t most) {
  std::string bytes(most, '\0');
  const ssize_t got = ::pread(fd, bytes.data(), most, static_cast<off_t>(offset));
  bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return bytes;
}

template <typename T>
std::vector<T> read_table(int fd, uint64_t offset, size_t count) {
  const std::string bytes = read_at(fd, offset, count * sizeof(T));
  std::vector<T> table(bytes.size() / sizeof(T));
  if (!table.empty()) std::memcpy(table.data(), bytes.data(), table.size() * sizeof(T));
  return table;
}

// The file offset of the byte that is loaded at `address`.
std::optional<uint64_t> offset_of(const std::vector<ElfW(Phdr)>& segments, uint64_t address) {
  for (const auto& segment : segments) {
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
        address - segment.p_vaddr < segment.p_filesz) {
      return segment.p_offset + (address - segment.p_vaddr);
    }
  }
  return std::nullopt;
}

// Limits are far above what linkers make.
constexpr size_t kMostEntries = 65536, kMostName = 256;

std::vector<std::string> needed_by(int fd) {
  const auto header = read_table<ElfW(Ehdr)>(fd, 0, 1);
  constexpr unsigned char kClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  if (header.empty() || std::memcmp(header[0].e_ident, ELFMAG, SELFMAG) != 0 ||
      header[0].e_ident[EI_CLASS] != kClass || header[0].e_phentsize != sizeof(ElfW(Phdr))) {
    return {};
  }
  const auto segments = read_table<ElfW(Phdr)>(fd, header[0].e_phoff, header[0].e_phnum);
  const auto dynamic = std::ranges::find(segments, ElfW(Word){PT_DYNAMIC}, &ElfW(Phdr)::p_type);
  if (dynamic == segments.end()) return {};
  const size_t count = std::min(dynamic->p_filesz / sizeof(ElfW(Dyn)), kMostEntries);
  const auto entries = read_table<ElfW(Dyn)>(fd, dynamic->p_offset, count);
  const auto strings = std::ranges::find(entries, ElfW(Sxword){DT_STRTAB}, &ElfW(Dyn)::d_tag);
  if (strings == entries.end()) return {};
  const auto names = offset_of(segments, strings->d_un.d_ptr);
  if (!names) return {};
  std::vector<std::string> needed;
  for (const auto& entry : entries) {
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag != DT_NEEDED) continue;
    needed.emplace_back(read_at(fd, *names + entry.d_un.d_val, kMostName).c_str());
  }
  return needed;
}

bool is_sanitizer(std::string_view library) {
  constexpr std::array<std::string_view, 6> kNames = {
      "libasan.so", "libhwasan.so", "libtsan.so",
      "liblsan.so", "libubsan.so",  "libclang_rt."};  // -shared-libsan
  // LD_PRELOAD knows no quotes.
  return std::ranges::any_of(kNames, [=](auto name) { return library.starts_with(name); }) &&
         library.find_first_of(": ") == std::string_view::npos;
}

// "#! /bin/sh -e": /bin/sh
std::string interpreter_of(std::string_view start) {
  constexpr std::string_view kBlanks = " \t";
  std::string_view line = start.substr(2, start.find('\n') - 2);
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  return std::string(line.substr(0, line.find_first_of(kBlanks)));
}

}  // namespace

std::vector<std::string> sanitizers_of(const std::string& path) {
  constexpr int kMostInterpreters = 5;  // one may be a script itself; the kernel's limit
  std::string program = path;
  for (int i = 0; i <= kMostInterpreters; ++i) {
    const UniqueFd fd(::open(program.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return {};
    const std::string start = read_at(fd.get(), 0, kMostName);
    if (!start.starts_with("#!")) {
      std::vector<std::string> found = needed_by(fd.get());
      std::erase_if(found, [](const std::string& library) { return !is_sanitizer(library); });
      return found;
    }
    program = interpreter_of(start);
  }
  return {};
}

std::string find_program(const std::string& name, const char* search) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view rest = search != nullptr ? search : "/bin:/usr/bin";
  while (true) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    std::string path(directory.empty() ? "." : directory);
    path += "/" + name;
    struct stat status = {};
    if (::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        ::access(path.c_str(), X_OK) == 0) {
      return path;
    }
    if (directory.size() == rest.size()) return {};
    rest.remove_prefix(directory.size() + 1);
  }
}

}  // namespace pmemd::cli
