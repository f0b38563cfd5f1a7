#include "daemon/options.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/base/units.h"
#include "core/pagemap/pfn.h"

namespace pmemd {
namespace {

// False, with a message on stderr, if `text` can't be parsed.
bool read_size(const char* option, const std::string& text, uint64_t& bytes) {
  const auto parsed = parse_size(text);
  if (!parsed) {
    std::fprintf(stderr, "pmemd: %s: %s\n", option, parsed.error().describe().c_str());
    return false;
  }
  bytes = *parsed;
  return true;
}

bool read_system_ram(const std::string& text, uint64_t& bytes) {
  bytes = 0;
  if (text == "0") return true;
  if (!read_size("--system-ram", text, bytes)) return false;
  if (is_whole_subsections({0, bytes})) return true;
  std::fprintf(stderr,
               "pmemd: --system-ram: %s is no multiple of 2 MiB, or more than the emulated address "
               "space has\n",
               text.c_str());
  return false;
}

}  // namespace

std::variant<Options, int> parse_options(int argc, char** argv) {
  Options options;
  std::string size;
  std::string system_ram = "3G";
  CLI::App app("pmemd: emulates persistent memory in files, mounted for any program to map");
  app.set_version_flag("--version", std::string("pmemd ") + PMEMD_VERSION);
  app.add_option("--pool", options.pool, "directory with the pool's metadata and images")
      ->required()
      ->type_name("DIR");
  auto* mount = app.add_option("--mount", options.mount, "directory to mount on")->type_name("DIR");
  app.add_flag("--nonempty", options.nonempty,
               "mount even over a directory with files, and hide them until pmemd ends")
      ->needs(mount);
  auto* create = app.add_option("--create", size,
                                "if there is no pool yet, create one: region0 of this size, and "
                                "pmem0 on all of it (64M, 1G, 1T)")
                     ->type_name("SIZE");
  app.add_flag("--sparse", options.sparse,
               "with --create: allocate host blocks when they are used, not at once")
      ->needs(create);
  app.add_option("--system-ram", system_ram,
                 "size of the emulated machine's System RAM, from address 0; a multiple of 2 MiB, "
                 "or 0 for none; takes only addresses, no memory")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option(
         "--socket", options.socket,
         "control socket (default: /run/pmemd/control; without root "
         "$XDG_RUNTIME_DIR/pmemd/control, or /tmp/pmemd-UID/control without a login session)")
      ->type_name("PATH");
  app.add_flag("--foreground", options.foreground, "stay in the foreground; log to stderr");
  app.add_flag("--allow-other", options.allow_other, "let other users use the mount");
  app.add_flag("--debug-faults", options.debug_faults,
               "let pmemctl debug make steps fail and stall; for tests");
  app.add_flag_callback(
      "--no-hot-ranges", [&options] { options.hot_ranges = false; },
      "don't read the surrounding 2 MiB ahead when its pages are touched one by one");
  app.add_flag("--raise-dirty-limits", options.raise_dirty_limits,
               "as root: while the daemon runs, let the whole host have 40 % of its memory dirty "
               "before it writes back (vm.dirty_background_ratio, vm.dirty_ratio), so that stores "
               "to large files run at memory speed");
  app.add_option("--stall-timeout", options.stall_timeout_s,
                 "end the mount when requests wait and none has been served for this long, so that "
                 "no process hangs for ever; 0: never")
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  auto* check = app.add_flag("--check", options.check,
                             "check a pool that no daemon uses for damage, and exit: 0 if there is "
                             "none, 1 if there is some");
  app.add_flag("--json", options.json, "with --check: print findings as JSON")->needs(check);
  mount->excludes(check);
  create->excludes(check);
  app.footer("Example: pmemd --pool /var/lib/pmemd/a --mount /mnt/pmem --create 1G");

  try {
    app.parse(argc, argv);
    if (!options.check && options.mount.empty()) throw CLI::RequiredError("--mount");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!read_system_ram(system_ram, options.system_ram_bytes)) return 2;
  if (!size.empty()) {
    uint64_t bytes = 0;
    if (!read_size("--create", size, bytes)) return 2;
    options.create_size = bytes;
  }
  return options;
}

}  // namespace pmemd
