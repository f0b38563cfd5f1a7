// "Must show" 4: real programs on the mount. Each is skipped where it isn't installed.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "core/base/units.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

class ProgramsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped()) pool_.start();
  }
  std::string path(const std::string& name) const { return pool_.path("pmem0/" + name); }

  static bool missing(const std::string& name) {
    return run({"sh", "-c", "command -v " + name}).code != 0;
  }

  // What was written is there after a removal and after a restart; then `look` is content.
  void expect_to_survive(const std::function<void()>& look) {
    look();
    pool_.ctl_json({"disable-namespace", "namespace0.0", "--force"});
    pool_.ctl_json({"enable-namespace", "namespace0.0"});
    look();
    pool_.stop();
    pool_.expect_check_passes();
    pool_.start();
    look();
  }

  TestPool pool_;
};

#define SKIP_WITHOUT(name) \
  if (missing(name)) GTEST_SKIP() << (name) << " is not installed"

TEST_F(ProgramsTest, PmempoolCreatesAndChecks) {
  SKIP_WITHOUT("pmempool");
  run_ok({"pmempool", "create", "--layout=x", "--size=32M", "obj", path("obj")});
  run_ok({"pmempool", "create", "--size=32M", "blk", "512", path("blk")});
  run_ok({"pmempool", "create", "--size=32M", "log", path("log")});
  expect_to_survive([&] {
    for (const char* name : {"obj", "blk", "log"}) {
      EXPECT_THAT(run_ok({"pmempool", "check", "-v", path(name)}), HasSubstr("consistent"));
      EXPECT_THAT(run_ok({"pmempool", "info", path(name)}), HasSubstr("POOL"));
    }
  });
}

TEST_F(ProgramsTest, Libpmem2OnADevdaxNamespace) {
  pool_.ctl_json({"destroy-namespace", "namespace0.0", "--force"});
  pool_.ctl_json({"create-namespace", "--mode", "devdax", "--size", "64M"});
  EXPECT_EQ(run_ok({program("pmemd_test_pmem2"), pool_.path("dax0.0")}), "page\n");
}

TEST_F(ProgramsTest, LibpmemobjListGrowsByTransactions) {
  const std::string workload = program("pmemd_test_pmemobj");
  run_ok({workload, "create", path("list"), std::to_string(32 * kMiB)});
  run_ok({workload, "append", path("list"), "500"});
  expect_to_survive([&] { EXPECT_EQ(run_ok({workload, "check", path("list")}), "500\n"); });
}

TEST_F(ProgramsTest, LibpmemobjListIsWholeWhenItsProgramIsKilled) {
  const std::string workload = program("pmemd_test_pmemobj");
  run_ok({workload, "create", path("list"), std::to_string(32 * kMiB)});
  int least = 0;
  for (int round = 0; round < 3; ++round) {
    Conversation append({workload, "append", path("list"), "100000"});
    for (int i = 0; i < 50; ++i) least = std::stoi(append.receive());
    append.process().signal(SIGKILL);
    append.process().wait();
    EXPECT_GE(std::stoi(run_ok({workload, "check", path("list")})), least);
  }
}

TEST_F(ProgramsTest, Libpmem2MapsAtPageGranularity) {
  write_file(path("file"), std::string(8 * kMiB, '\0'));
  EXPECT_EQ(run_ok({program("pmemd_test_pmem2"), path("file")}), "page\n");
  EXPECT_EQ(read_file(path("file")).substr(12'345, 5), "ppppp");
}

TEST_F(ProgramsTest, SqliteWithMmapInEveryJournalMode) {
  SKIP_WITHOUT("sqlite3");
  for (const std::string mode : {"wal", "delete", "truncate", "persist"}) {
    const std::string sql = fmt::format(
        "PRAGMA mmap_size=268435456; PRAGMA journal_mode={}; CREATE TABLE t (k INTEGER PRIMARY KEY,"
        " v TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) "
        "INSERT INTO t SELECT i, printf('%040d', i) FROM n; CREATE INDEX v ON t (v); "
        "UPDATE t SET v = v || 'x' WHERE k % 3 = 0; DELETE FROM t WHERE k % 5 = 0; VACUUM;",
        mode);
    run_ok({"sqlite3", path(mode + ".db")}, {.in = sql});
  }
  expect_to_survive([&] {
    for (const std::string mode : {"wal", "delete", "truncate", "persist"}) {
      const std::string sql =
          "PRAGMA mmap_size=268435456; PRAGMA integrity_check; SELECT count(*), sum(k) FROM t;";
      EXPECT_THAT(run_ok({"sqlite3", path(mode + ".db")}, {.in = sql}),
                  HasSubstr("ok\n16000|160000000\n"))
          << mode;
    }
  });
}

TEST_F(ProgramsTest, FioWritesAndVerifies) {
  SKIP_WITHOUT("fio");
  for (const std::string engine : {"mmap", "psync --direct=1", "libaio --direct=1 --iodepth=8"}) {
    const std::string command = fmt::format(
        "fio --directory={} --size=16M --ioengine={} --rw=randwrite --bs=4k --verify=crc32c "
        "--verify_fatal=1 --do_verify=1 --numjobs=2 --thread --group_reporting --name=job{}",
        path(""), engine, engine.substr(0, 4));
    run_ok({"sh", "-c", command}, {.patience = std::chrono::seconds(60)});
  }
}

TEST_F(ProgramsTest, GitInitCommitGcFsckClone) {
  SKIP_WITHOUT("git");
  const std::string script = R"sh(
    set -eu
    export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
    git init -q work; cd work
    git config user.name test; git config user.email test@example.org
    for i in $(seq 40); do mkdir -p d$((i % 7)); seq $((i * 50)) > d$((i % 7))/f$i; done
    git add .; git commit -q -m one
    git checkout -q -b branch
    for i in $(seq 1 2 40); do seq $((i * 70)) > d$((i % 7))/f$i; done
    git commit -q -a -m two
    git mv d1 moved; git rm -q -r d2; git commit -q -m three
    git gc -q --aggressive; git fsck --full --strict
    cd ..; git clone -q work clone; cd clone
    git fsck --full; git checkout -q -b other HEAD~2; git merge -q origin/branch
    test -z "$(git status --porcelain)"
    cd ..; diff -r --exclude=.git work clone
  )sh";
  run_ok({"sh", "-c", "cd " + path("") + "\n" + script}, {.patience = std::chrono::seconds(60)});
  expect_to_survive([&] {
    run_ok({"git", "-c", "safe.directory=*", "-C", path("work"), "fsck", "--full", "--strict"});
  });
}

TEST_F(ProgramsTest, CpAndTarMakeEqualTrees) {
  const std::string script = R"sh(
    set -eu
    mkdir tree; cd tree
    for i in $(seq 200); do
      mkdir -p a/b$((i % 10)); head -c $((i * 100)) /dev/zero | tr '\0' x > a/b$((i % 10))/$i
    done
    ln -s a/b1/1 symbolic; ln a/b1/1 hard; mkfifo fifo; chmod 4751 a/b2/2; truncate -s 5G sparse
    touch -d '2001-02-03 04:05:06.123456789' a/b3/3
    cd ..; cp -a tree copy
    tar -C tree -cSf tree.tar .; mkdir untarred; tar -C untarred -xSpf tree.tar
    for other in copy untarred; do
      diff -r --no-dereference --exclude=fifo --exclude=sparse tree $other
    done
    for each in tree copy; do
      (cd $each; find . ! -type d -printf '%p %m %n %s %y %l\n' | sort) > listed.$each
    done
    cmp listed.tree listed.copy
    test "$(stat -c %y tree/a/b3/3)" = "$(stat -c %y copy/a/b3/3)"
    test "$(stat -c %b copy/sparse)" -lt 100
    rm -r tree copy untarred
  )sh";
  run_ok({"sh", "-c", "cd " + path("") + "\n" + script});
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
