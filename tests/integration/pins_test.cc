// Pins and registered mappings, through ioctl on a mapped file's own descriptor.
#include <fcntl.h>
#include <sys/ioctl.h>

#include "client/pmemd_ioctl.h"
#include "tests/integration/client.h"
#include "tests/integration/removal_fixture.h"

namespace pmemd {
namespace {

class PinsTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", 65536);
    client_.emplace();
    client_->map_file(pool_.path("pmem0/a"), 65536);
  }
  std::string pin(const std::string& range) { return client_->ask("pin 0 " + range); }

  std::optional<Client> client_;
};

TEST_F(PinsTest, EachErrno) {
  EXPECT_EQ(pin("0 0"), "error EINVAL");
  EXPECT_EQ(pin("65536 1"), "error EINVAL");
  EXPECT_EQ(pin("1 65536"), "error EINVAL");
  EXPECT_EQ(pin("18446744073709551615 2"), "error EINVAL");
  EXPECT_EQ(client_->ask("unpin 0 12345"), "error ENOENT");
  EXPECT_EQ(client_->ask("unregister 0 12345"), "error ENOENT");
  const UniqueFd other(open("/dev/null", O_RDONLY | O_CLOEXEC));
  pmemd_pin request{.offset = 0, .length = 1, .id = 0};
  EXPECT_NE(ioctl(other.get(), PMEMD_IOC_PIN, &request), 0);
  EXPECT_EQ(errno, ENOTTY);
  const UniqueFd file(open(pool_.path("pmem0/a").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_NE(ioctl(file.get(), _IO(PMEMD_IOCTL_MAGIC, 99), nullptr), 0);
  EXPECT_EQ(errno, ENOTTY);
  const UniqueFd directory(open(pool_.path("pmem0").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_NE(ioctl(directory.get(), PMEMD_IOC_PIN, &request), 0);
  EXPECT_EQ(errno, ENOTTY);
}

TEST_F(PinsTest, PinnedRangeIsNeitherTruncatedNorPunched) {
  ASSERT_EQ(pin("8192 4096").substr(0, 3), "ok ");
  const UniqueFd file(open(pool_.path("pmem0/a").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NE(ftruncate(file.get(), 8192), 0);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_NE(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192), 0);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
  EXPECT_EQ(ftruncate(file.get(), 12288), 0) << "behind the pin";
  EXPECT_EQ(ftruncate(file.get(), 1 << 20), 0);
}

TEST_F(PinsTest, OneOfADevdaxToo) {
  Client client;
  client.map_file(pool_.path("dax0.1"), 4 << 20);
  EXPECT_EQ(client.ask("pin 0 0 4194304").substr(0, 3), "ok ");
  EXPECT_EQ(client.ask("pin 0 0 1099511627776"), "error EINVAL");
}

}  // namespace
}  // namespace pmemd
