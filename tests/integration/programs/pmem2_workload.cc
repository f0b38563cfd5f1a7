// A program on libpmem2: maps a file, copies with its functions, persists, reads back.
//
//   pmem2_workload FILE     prints the granularity it was given
#include <fcntl.h>
#include <libpmem2.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

namespace {

int failed(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, pmem2_errormsg());
  return 1;
}

int use(pmem2_map* map) {
  auto* base = static_cast<char*>(pmem2_map_get_address(map));
  const size_t size = pmem2_map_get_size(map);
  const std::vector<char> text(100'000, 'p');
  auto copy = pmem2_get_memcpy_fn(map);
  auto set = pmem2_get_memset_fn(map);
  auto persist = pmem2_get_persist_fn(map);
  set(base, 0x5a, size, PMEM2_F_MEM_NONTEMPORAL);
  copy(base + 12'345, text.data(), text.size(), 0);
  base[7] = '7';
  persist(base + 7, 1);
  const bool kept = memcmp(base + 12'345, text.data(), text.size()) == 0 && base[7] == '7' &&
                    base[size - 1] == 0x5a;
  return kept ? 0 : failed("what was copied isn't there");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int fd = open(argv[1], O_RDWR);
  pmem2_source* source = nullptr;
  pmem2_config* config = nullptr;
  pmem2_map* map = nullptr;
  if (fd < 0 || pmem2_source_from_fd(&source, fd) != 0) return failed(argv[1]);
  if (pmem2_config_new(&config) != 0) return failed("config");
  if (pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) != 0) {
    return failed("granularity");
  }
  if (pmem2_map_new(&map, config, source) != 0) return failed("map");
  const int result = use(map);
  const auto granularity = pmem2_map_get_store_granularity(map);
  std::puts(granularity == PMEM2_GRANULARITY_PAGE         ? "page"
            : granularity == PMEM2_GRANULARITY_CACHE_LINE ? "cache line"
                                                          : "byte");
  if (pmem2_map_delete(&map) != 0) return failed("unmap");
  pmem2_source_delete(&source);
  pmem2_config_delete(&config);
  close(fd);
  return result;
}
