#include "cli/verbs/sanitizer.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/temporary_directory.h"

namespace pmemd::cli::test {
namespace {

using Words = std::vector<std::string>;

// A program of headers alone, that names these libraries.
struct Program {
  ElfW(Ehdr) header = {};
  ElfW(Phdr) segments[2] = {};
  ElfW(Dyn) dynamic[8] = {};
  char names[256] = {};
};

constexpr uint64_t kLoadedAt = 0x400000;

std::string program_of(const Words& libraries) {
  Program program;
  std::memcpy(program.header.e_ident, ELFMAG, SELFMAG);
  program.header.e_ident[EI_CLASS] = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  program.header.e_phoff = offsetof(Program, segments);
  program.header.e_phnum = 2;
  program.header.e_phentsize = sizeof(ElfW(Phdr));
  program.segments[0].p_type = PT_LOAD;
  program.segments[0].p_vaddr = kLoadedAt;
  program.segments[0].p_filesz = sizeof(Program);
  program.segments[1].p_type = PT_DYNAMIC;
  program.segments[1].p_offset = offsetof(Program, dynamic);
  program.segments[1].p_filesz = sizeof(program.dynamic);
  program.dynamic[0].d_tag = DT_STRTAB;
  program.dynamic[0].d_un.d_ptr = kLoadedAt + offsetof(Program, names);
  size_t at = 1;
  for (size_t i = 0; i < libraries.size(); ++i) {
    program.dynamic[i + 1].d_tag = DT_NEEDED;
    program.dynamic[i + 1].d_un.d_val = at;
    libraries[i].copy(program.names + at, libraries[i].size());
    at += libraries[i].size() + 1;
  }
  std::string bytes(sizeof(Program), '\0');
  std::memcpy(bytes.data(), &program, sizeof(Program));
  return bytes;
}

class Sanitizer : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& bytes) const {
    const std::string path = directory_.path() + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    chmod(path.c_str(), 0700);
    return path;
  }

  const TemporaryDirectory directory_;
};

TEST_F(Sanitizer, IsFoundAmongWhatAProgramNeeds) {
  EXPECT_EQ(sanitizers_of(write("a", program_of({"libasan.so.8", "libubsan.so.1", "libc.so.6"}))),
            (Words{"libasan.so.8", "libubsan.so.1"}));
  EXPECT_EQ(sanitizers_of(write("b", program_of({"libm.so.6", "libtsan.so.2"}))),
            Words{"libtsan.so.2"});
  EXPECT_EQ(sanitizers_of(write("c", program_of({"libclang_rt.asan-x86_64.so"}))),
            Words{"libclang_rt.asan-x86_64.so"});
  EXPECT_EQ(sanitizers_of(write("d", program_of({"libc.so.6", "libasan.so:evil"}))), Words{});
}

TEST_F(Sanitizer, OfAScriptIsThatOfItsInterpreter) {
  const std::string program = write("a", program_of({"libasan.so.8"}));
  EXPECT_EQ(sanitizers_of(write("b", "#! \t" + program + " -x\ntext")), Words{"libasan.so.8"});
  EXPECT_EQ(sanitizers_of(write("c", "#!" + directory_.path() + "/b\n")), Words{"libasan.so.8"});
  EXPECT_EQ(sanitizers_of(write("d", "#!" + directory_.path() + "/d\n")), Words{});
  EXPECT_EQ(sanitizers_of(write("e", "#!")), Words{});
}

// Whatever is in the file: it ends, and finds none.
TEST_F(Sanitizer, IsNoneOfWhatIsNoProgram) {
  EXPECT_EQ(sanitizers_of("/nonexistent"), Words{});
  EXPECT_EQ(sanitizers_of(directory_.path()), Words{});
  const std::string whole = program_of({"libasan.so.8"});
  for (size_t length = 0; length < offsetof(Program, names) + 1; ++length) {
    EXPECT_EQ(sanitizers_of(write("cut", whole.substr(0, length))), Words{}) << length;
  }
  for (size_t at = 0; at < offsetof(Program, names); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(~damaged[at]);
    (void)sanitizers_of(write("damaged", damaged));
  }
}

TEST_F(Sanitizer, ProgramsAreFoundAsExecFindsThem) {
  const std::string path = write("program", "#!/bin/sh\n");
  const std::string search = "/nonexistent:" + directory_.path() + ":/bin";
  EXPECT_EQ(find_program("program", search.c_str()), path);
  EXPECT_EQ(find_program("./program", search.c_str()), "./program");
  EXPECT_EQ(find_program("nothing-of-this-name", search.c_str()), "");
  EXPECT_EQ(find_program("sh", nullptr), "/bin/sh");
  chmod(path.c_str(), 0600);
  EXPECT_EQ(find_program("program", directory_.path().c_str()), "");
}

}  // namespace
}  // namespace pmemd::cli::test
