#include "daemon/options.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/base/units.h"

namespace pmemd {

std::variant<Options, int> parse_options(int argc, char** argv) {
  Options options;
  std::string size;
  CLI::App app("pmemd: emulates persistent memory in files, mounted for any program to map");
  app.set_version_flag("--version", std::string("pmemd ") + PMEMD_VERSION);
  app.add_option("--pool", options.pool, "directory with the pool's metadata and images")
      ->required()
      ->type_name("DIR");
  auto* mount = app.add_option("--mount", options.mount, "directory to mount on")->type_name("DIR");
  auto* create = app.add_option("--create", size,
                                "if there is no pool yet, make one: region0 of this size, and "
                                "pmem0 on all of it (64M, 1G, 1T)")
                     ->type_name("SIZE");
  app.add_flag("--sparse", options.sparse,
               "with --create: allocate host blocks as they are used, not at once")
      ->needs(create);
  app.add_option("--socket", options.socket,
                 "control socket (default: /run/pmemd/control, or "
                 "$XDG_RUNTIME_DIR/pmemd/control without root)")
      ->type_name("PATH");
  app.add_flag("--foreground", options.foreground, "stay in the foreground; log to stderr");
  app.add_flag("--allow-other", options.allow_other, "let other users use the mount");
  app.add_flag("--debug-faults", options.debug_faults,
               "let pmemctl debug make steps fail and stall; for tests");
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  auto* check = app.add_flag("--check", options.check,
                             "tell whether a pool that no daemon uses holds together, and end: "
                             "exit 0 if it does, 1 if not");
  app.add_flag("--json", options.json, "with --check: findings as JSON")->needs(check);
  mount->excludes(check);
  create->excludes(check);
  app.footer("Example: pmemd --pool /var/lib/pmemd/a --mount /mnt/pmem --create 1G");

  try {
    app.parse(argc, argv);
    if (!options.check && options.mount.empty()) throw CLI::RequiredError("--mount");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!size.empty()) {
    const auto bytes = parse_size(size);
    if (!bytes) {
      std::fprintf(stderr, "pmemd: --create: %s\n", bytes.error().describe().c_str());
      return 2;
    }
    options.create_size = *bytes;
  }
  return options;
}

}  // namespace pmemd
