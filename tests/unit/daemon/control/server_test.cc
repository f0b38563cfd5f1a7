#include "daemon/control/server.h"

#include <sys/resource.h>

#include <atomic>
#include <new>
#include <vector>

#include "core/control/interface.h"
#include "tests/unit/daemon/control/fixture.h"

namespace pmemd::test {
namespace {

using namespace std::string_literals;

class ControlServerCalls : public ControlServerTest {
 protected:
  // Handlers of "CreateRegion" that wait for `go_`.
  void add_waiting_handler() {
    handlers_["CreateRegion"] = [this](const Call& call, const Peer&) -> HandlerResult {
      ++running_;
      EXPECT_TRUE(go_.wait());
      ++finished_;
      return Json{{"region", *call.number("size")}};
    };
  }
  Call create_region(int size = 1) { return {"org.pmemd.CreateRegion", {{"size", size}}}; }

  Flag go_;
  std::atomic<int> running_ = 0;
  std::atomic<int> finished_ = 0;
};

TEST_F(ControlServerCalls, ReachTheHandlerWithTheirParametersAndPeer) {
  handlers_["Mappers"] = [](const Call& call, const Peer& peer) -> HandlerResult {
    return Json{{"namespace", *call.text("namespace")}, {"uid", peer.uid}, {"pid", peer.pid}};
  };
  start();
  const Reply reply = connect().call({"org.pmemd.Mappers", {{"namespace", "namespace0.0"}}});
  EXPECT_EQ(reply.error, "");
  EXPECT_FALSE(reply.continues);
  EXPECT_EQ(reply.parameters["namespace"], "namespace0.0");
  EXPECT_EQ(reply.parameters["uid"], getuid());
  EXPECT_EQ(reply.parameters["pid"], getpid());
}

TEST_F(ControlServerCalls, NothingToTellIsAnEmptyReply) {
  handlers_["EnableRegion"] = [](const Call&, const Peer&) -> HandlerResult { return Json(); };
  start();
  const Reply reply = connect().call({"org.pmemd.EnableRegion", {{"region", "region0"}}});
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.parameters, Json::object());
}

TEST_F(ControlServerCalls, ErrorsCarryTheHandlersDetails) {
  handlers_["EnableRegion"] = [](const Call&, const Peer&) -> HandlerResult {
    return std::unexpected(
        Refusal(fail(EBUSY, "region0: in use", "use --force").error(), {{"holders", {1, 2}}}));
  };
  handlers_["Status"] = [](const Call&, const Peer&) -> HandlerResult {
    PMEMD_TRY(Result<void>(fail(EIO, "pool.db: corrupt")));
    return Json();
  };
  start();
  ControlClient client = connect();
  Reply reply = client.call({"org.pmemd.EnableRegion", {{"region", "region0"}}});
  EXPECT_EQ(reply.error, "org.pmemd.Failed");
  EXPECT_EQ(reply.parameters.dump(),
            R"({"errno":16,"errno_name":"EBUSY","message":"region0: in use",)"
            R"("hint":"use --force","holders":[1,2]})");
  reply = client.call({"org.pmemd.Status"});
  EXPECT_EQ(reply.parameters["message"], "pool.db: corrupt");
}

TEST_F(ControlServerCalls, ForWhichMemoryRunsOutAreToldSo) {
  handlers_["List"] = [](const Call&, const Peer&) -> HandlerResult { throw std::bad_alloc(); };
  start();
  ControlClient client = connect();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(client.call({"org.pmemd.List"}).parameters["errno_name"], "ENOMEM");
  }
}

TEST_F(ControlServerCalls, WhatIsNotUnderstoodIsAnErrorAndTheConnectionGoesOn) {
  start();
  ControlClient client = connect();
  ASSERT_TRUE(client.send_bytes("nonsense\0\0[1]\0"s));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.receive()->parameters["errno_name"], "EBADMSG");
  EXPECT_EQ(client.call({"org.pmemd.Nothing"}).error, "org.varlink.service.MethodNotFound");
  EXPECT_EQ(client.call({"org.other.List"}).error, "org.varlink.service.InterfaceNotFound");
  EXPECT_EQ(client.call({"org.pmemd.List", {{"idle", 1}}}).error,
            "org.varlink.service.InvalidParameter");
  EXPECT_EQ(client.call({"org.pmemd.Check"}).error, "org.varlink.service.MethodNotImplemented");
  EXPECT_EQ(client.call({"org.pmemd.Monitor"}).error, "org.varlink.service.ExpectedMore");
  EXPECT_EQ(client.call({"org.pmemd.List"}).error, "");
  EXPECT_EQ(client.call({"org.varlink.service.GetInfo"}).parameters["product"], "pmemd");
}

TEST_F(ControlServerCalls, TooLongAMessageIsToldAndHungUpOn) {
  start();
  ControlClient client = connect();
  (void)client.send_bytes(std::string(kMaxCallBytes + 1, 'x'));
  EXPECT_EQ(client.receive()->parameters["errno_name"], "EMSGSIZE");
  EXPECT_EQ(client.receive(), std::nullopt);
  EXPECT_EQ(connect().call({"org.pmemd.List"}).error, "");
}

TEST_F(ControlServerCalls, OfAnEndlessMessageOnlyTheLimitIsRead) {
  start();
  ControlClient client = connect();
  const std::string chunk(1 << 20, '{');
  int sent = 0;
  while (sent < 64 && client.send_bytes(chunk)) ++sent;
  EXPECT_LT(sent, 64);  // hung up on long before
  EXPECT_TRUE(wait_for([](const auto& stats) { return stats.connections == 0; }));
}

TEST_F(ControlServerCalls, MayComeByteByByteOrManyAtOnce) {
  std::atomic<int> at_once = 0;
  handlers_["Mappers"] = [&](const Call& call, const Peer&) -> HandlerResult {
    EXPECT_EQ(++at_once, 1);
    --at_once;
    return Json{{"namespace", *call.text("namespace")}};
  };
  start();
  ControlClient client = connect();
  for (const char c : encode(Call{"org.pmemd.List"})) {
    ASSERT_TRUE(client.send_bytes(std::string(1, c)));
  }
  EXPECT_EQ(client.receive()->error, "");

  std::string many;
  for (int i = 0; i < 500; ++i) {
    many += encode(Call{"org.pmemd.Mappers", {{"namespace", std::to_string(i)}}});
    many += encode(Call{"org.varlink.service.GetInfo"});
  }
  std::thread writer([&] { EXPECT_TRUE(client.send_bytes(many)); });
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(client.receive().value().parameters["namespace"], std::to_string(i));
    EXPECT_EQ(client.receive().value().parameters["product"], "pmemd");
  }
  writer.join();
}

TEST_F(ControlServerCalls, OfOneClientDontKeepTheLoopFromOthers) {
  start();
  ControlClient client = connect();
  constexpr int kMessages = 20'000;
  std::thread reader([&] {
    for (int i = 0; i < kMessages; ++i) {
      ASSERT_EQ(client.receive().value().parameters["errno_name"], "EBADMSG");
    }
  });
  uint64_t first_round = 0;
  uint64_t last_round = 0;
  in_loop([&] { sd_event_get_iteration(event_, &first_round); });
  ASSERT_TRUE(client.send_bytes(std::string(kMessages, '\0')));
  reader.join();
  in_loop([&] { sd_event_get_iteration(event_, &last_round); });
  EXPECT_GE(last_round - first_round, kMessages / 32u);
}

TEST_F(ControlServerCalls, AreReadNoFurtherThanTheirRepliesAre) {
  const std::string large(1 << 20, 'x');  // more than any socket buffer takes
  handlers_["Status"] = [&](const Call&, const Peer&) -> HandlerResult {
    return Json{{"text", large}};
  };
  start();
  ControlClient client = connect();
  std::string many;
  for (int i = 0; i < 5; ++i) many += encode(Call{"org.pmemd.Status"});
  ASSERT_TRUE(client.send_bytes(many));
  ASSERT_EQ(connect().call({"org.pmemd.List"}).error, "");
  ASSERT_TRUE(wait_for([](const auto& stats) { return stats.calls >= 2; }));
  for (int i = 0; i < 100; ++i) in_loop([] {});
  EXPECT_EQ(server_->stats().calls, 2u);  // List, and the one whose reply waits
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.receive().value().parameters["text"], large);
}

TEST_F(ControlServerCalls, OnewayGetsNoReply) {
  std::atomic<int> done = 0;
  handlers_["EnableRegion"] = [&](const Call&, const Peer&) -> HandlerResult {
    ++done;
    return Json();
  };
  start();
  ControlClient client = connect();
  Call oneway{"org.pmemd.EnableRegion", {{"region", "region0"}}, false, /*oneway=*/true};
  ASSERT_TRUE(client.send(oneway));
  oneway.method = "org.pmemd.Nothing";
  ASSERT_TRUE(client.send(oneway));
  EXPECT_EQ(client.call({"org.varlink.service.GetInfo"}).parameters["product"], "pmemd");
  EXPECT_EQ(done, 1);
}

TEST_F(ControlServerCalls, HalfClosedClientsGetTheirReply) {
  start();
  ControlClient client = connect();
  ASSERT_TRUE(client.send({"org.pmemd.List"}));
  ASSERT_EQ(::shutdown(client.fd(), SHUT_WR), 0);
  EXPECT_EQ(client.receive()->error, "");
  EXPECT_EQ(client.receive(), std::nullopt);
}

TEST_F(ControlServerCalls, GoOnWhenThePeerHangsUp) {
  add_waiting_handler();
  start();
  ControlClient client = connect();
  ASSERT_TRUE(client.send(create_region()));
  ASSERT_TRUE(wait_for([&](const auto&) { return running_ == 1; }));
  client.close();
  EXPECT_TRUE(wait_for([](const auto& stats) { return stats.connections == 0; }));
  go_.set();
  EXPECT_TRUE(wait_for([&](const auto&) { return finished_ == 1; }));
  EXPECT_EQ(connect().call({"org.pmemd.List"}).error, "");
}

TEST_F(ControlServerCalls, ThatOnlyTellAreAnsweredWhileChangesWait) {
  options_.limits.workers = 3;
  options_.limits.queued_calls = 4;
  add_waiting_handler();
  start();
  std::vector<ControlClient> changing;
  for (int i = 0; i < 4; ++i) {  // 2 run, 2 wait
    changing.push_back(connect());
    ASSERT_TRUE(changing.back().send(create_region(i)));
    ASSERT_TRUE(wait_for([&](const auto& stats) {
      return stats.calls == unsigned(i) + 1 && running_ == std::min(i + 1, 2);
    }));
  }
  EXPECT_EQ(connect().call(create_region()).parameters["message"], "too many requests at once");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(connect().call({"org.pmemd.List"}).error, "");
  EXPECT_EQ(running_, 2);
  go_.set();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(changing[i].receive()->parameters["region"], i);
}

class ControlServerPeers : public ControlServerCalls {
 protected:
  ControlServerPeers() {
    handlers_["CreateRegion"] = [](const Call&, const Peer&) -> HandlerResult { return Json(); };
    options_.identify = [this](int) -> Result<Peer> { return peer_; };
  }
  std::string may_change(Peer peer) {
    peer_ = std::move(peer);
    return connect().call(create_region()).error;
  }
  Peer peer_;
};

TEST_F(ControlServerPeers, MayChangeThingsAsOwnersOrMembersOfTheGroup) {
  options_.group = "games";  // Debian has it everywhere: gid 60
  options_.mode = 0666;
  if (geteuid() != 0) GTEST_SKIP() << "only root may give the socket to another group";
  start();
  constexpr gid_t kGroup = 60;
  EXPECT_EQ(may_change({0, 0, 1, {}}), "");
  EXPECT_EQ(may_change({geteuid(), 1000, 1, {}}), "");
  EXPECT_EQ(may_change({1000, kGroup, 1, {}}), "");
  EXPECT_EQ(may_change({1000, 1000, 1, {4, kGroup}}), "");
  EXPECT_EQ(may_change({1000, 1000, 1, {4, 5}}), "org.varlink.service.PermissionDenied");
  EXPECT_EQ(may_change({1000, 0, 1, {0}}), "org.varlink.service.PermissionDenied");
}

TEST_F(ControlServerPeers, OthersMayAskButLearnNothingFromRefusals) {
  peer_ = {12345, 12345, 1, {}};
  start();
  ControlClient client = connect();
  for (const Method& method : methods()) {
    const std::string name = std::string(method.interface) + "." + std::string(method.name);
    const Reply reply = client.call({name, {{"no such parameter", 1}}, method.streams});
    if (method.access == Access::kOwner) {
      EXPECT_EQ(reply.error, "org.varlink.service.PermissionDenied") << name;
      EXPECT_EQ(reply.parameters, Json::object());
    } else {
      EXPECT_EQ(reply.error, "org.varlink.service.InvalidParameter") << name;
    }
  }
  EXPECT_EQ(client.call({"org.pmemd.List"}).error, "");
}

TEST_F(ControlServerPeers, AreBoundedInNumber) {
  options_.limits.connections = 4;
  options_.limits.connections_per_user = 2;
  peer_ = {12345, 12345, 1, {}};
  start();
  std::vector<ControlClient> clients;
  const auto add = [&] {
    clients.push_back(connect());
    return clients.back().call({"org.pmemd.List"}).error;
  };
  EXPECT_EQ(add(), "");
  EXPECT_EQ(add(), "");
  EXPECT_EQ(add(), "org.pmemd.Failed");
  EXPECT_EQ(clients.back().receive(), std::nullopt);
  peer_.uid = 0;  // not bounded by the user's share
  EXPECT_EQ(add(), "");
  EXPECT_EQ(add(), "");
  EXPECT_EQ(add(), "org.pmemd.Failed");
  clients[0].close();
  ASSERT_TRUE(wait_for([](const auto& stats) { return stats.connections == 3; }));
  EXPECT_EQ(add(), "");
}

// The loop asks once in a turn who is ready, and that costs what there is: so a turn for each would
// be quadratic.
TEST_F(ControlServerPeers, ThatHangUpTogetherTakeNoTurnOfTheLoopEach) {
  constexpr size_t kClients = 1000;
  rlimit descriptors{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  if (descriptors.rlim_cur < 3 * kClients) GTEST_SKIP() << "too few descriptors are allowed";
  start();
  std::vector<ControlClient> clients;
  for (size_t i = 0; i < kClients; ++i) clients.push_back(connect());
  ControlClient other = connect();
  ASSERT_TRUE(wait_for([](const auto& stats) { return stats.connections == kClients + 1; }));

  uint64_t before = 0, after = 0;
  in_loop([&] {
    clients.clear();
    ASSERT_TRUE(other.send({"org.pmemd.List"}));
    ASSERT_GE(sd_event_get_iteration(event_, &before), 0);
  });
  EXPECT_EQ(other.receive()->error, "");
  ASSERT_TRUE(wait_for([](const auto& stats) { return stats.connections == 1; }));
  in_loop([&] { ASSERT_GE(sd_event_get_iteration(event_, &after), 0); });
  EXPECT_LT(after - before, kClients / 5);
}

TEST_F(ControlServerPeers, LeaveRootSomeConnectionsHoweverManyUsersThereAre) {
  options_.limits.connections = 8;
  options_.limits.connections_per_user = 3;
  start();
  std::vector<ControlClient> clients;
  const auto add = [&](uid_t uid) {
    peer_ = {uid, uid, 1, {}};
    clients.push_back(connect());
    return clients.back().call({"org.pmemd.List"}).error;
  };
  for (const uid_t uid : {12345U, 12345U, 12345U, 12346U, 12346U, 12346U, 12347U}) {
    EXPECT_EQ(add(uid), "") << uid;
  }
  EXPECT_EQ(add(12347), "org.pmemd.Failed");
  EXPECT_EQ(add(0), "");
}

TEST_F(ControlServerPeers, WaitWithoutSpinningWhenDescriptorsRunOut) {
  start();
  ControlClient accepted = connect();
  ASSERT_EQ(accepted.call({"org.pmemd.List"}).error, "");
  const UniqueFd waiting(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, options_.path.c_str(), sizeof(address.sun_path) - 1);

  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  const UniqueFd last(::dup(0));  // the lowest number that was free
  const rlimit none_free = {static_cast<rlim_t>(last.get()), before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none_free);
  ASSERT_EQ(::connect(waiting.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  uint64_t first_round = 0;
  uint64_t last_round = 0;
  in_loop([&] { sd_event_get_iteration(event_, &first_round); });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(accepted.call({"org.pmemd.List"}).error, "");
  in_loop([&] { sd_event_get_iteration(event_, &last_round); });
  EXPECT_LE(last_round - first_round, 50u);  // two a call, and few tries
  EXPECT_EQ(server_->stats().connections, 1u);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(wait_for([](const auto& stats) { return stats.connections == 2; }));
}

class ControlServerEvents : public ControlServerCalls {
 protected:
  ControlClient subscribe() {
    ControlClient client = connect();
    const Reply reply = client.call({"org.pmemd.Monitor", Json::object(), /*more=*/true});
    EXPECT_EQ(reply.error, "");
    EXPECT_TRUE(reply.continues);
    EXPECT_EQ(reply.parameters, Json::object());
    return client;
  }
  void publish(int from, int to) {
    for (int seq = from; seq < to; ++seq) {
      server_->publish({.seq = static_cast<uint64_t>(seq), .name_of_namespace = name_});
    }
  }
  std::string name_ = "namespace0.0";

  // Reads `count` events, those missed among them; returns how many were missed.
  int read_events(ControlClient& client, int from, int count) {
    int missed = 0;
    for (int expected = from; expected < from + count;) {
      const auto reply = client.receive();
      if (!reply) {
        ADD_FAILURE() << "hung up before event " << expected;
        break;
      }
      EXPECT_TRUE(reply->continues);
      if (reply->parameters.contains("missed")) {
        const int gap = reply->parameters["missed"];
        missed += gap;
        expected += gap;
      } else {
        EXPECT_EQ(reply->parameters["event"]["seq"], expected);
        ++expected;
      }
    }
    return missed;
  }
};

TEST_F(ControlServerEvents, ReachSubscribersInOrder) {
  start();
  ControlClient one = subscribe();
  ControlClient two = subscribe();
  EXPECT_EQ(server_->stats().subscribers, 2u);
  publish(0, 100);
  EXPECT_EQ(read_events(one, 0, 100), 0);
  EXPECT_EQ(read_events(two, 0, 100), 0);
  EXPECT_EQ(server_->stats().events, 100u);
  one.close();
  EXPECT_TRUE(wait_for([](const auto& stats) { return stats.subscribers == 1; }));
}

TEST_F(ControlServerEvents, AreLostToWhoeverReadsTooSlowlyAndToNobodyElse) {
  options_.limits.queued_events = 16;
  start();
  ControlClient slow = subscribe();
  ControlClient fast = subscribe();
  constexpr int kEvents = 50'000;  // many times what a socket buffer holds
  for (int seq = 0; seq < kEvents; seq += 100) {
    publish(seq, seq + 100);
    ASSERT_EQ(read_events(fast, seq, 100), 0);
  }
  EXPECT_GT(read_events(slow, 0, kEvents), kEvents / 2);
  publish(kEvents, kEvents + 1);  // what comes after the loss was told is heard again
  EXPECT_EQ(read_events(slow, kEvents, 1), 0);
}

TEST_F(ControlServerEvents, BeyondWhatThePublisherMayQueueAreMissed) {
  options_.limits.published_events = 10;
  start();
  ControlClient client = subscribe();
  in_loop([&] { publish(0, 1000); });  // the loop itself publishes: nobody hands out meanwhile
  EXPECT_EQ(read_events(client, 0, 1000), 990);
  publish(1000, 1001);
  EXPECT_EQ(read_events(client, 1000, 1), 0);
}

TEST_F(ControlServerEvents, ReachAThousandSubscribers) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 2'200) GTEST_SKIP() << "at most " << limit.rlim_cur << " descriptors";
  start();
  std::vector<ControlClient> clients;
  for (int i = 0; i < 1000; ++i) clients.push_back(subscribe());
  publish(0, 20);
  for (ControlClient& client : clients) ASSERT_EQ(read_events(client, 0, 20), 0);
  clients.clear();
  EXPECT_TRUE(wait_for([](const auto& stats) { return stats.connections == 0; }));
}

TEST_F(ControlServerEvents, OfAThousandSubscribersTenThatNeverReadLoseThemAlone) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 2'200) GTEST_SKIP() << "at most " << limit.rlim_cur << " descriptors";
  options_.limits.queued_events = 16;
  start();
  std::vector<ControlClient> deaf, clients;
  for (int i = 0; i < 10; ++i) deaf.push_back(subscribe());
  for (int i = 0; i < 990; ++i) clients.push_back(subscribe());
  constexpr int kRounds = 2, kEvents = 60;
  name_ = std::string(1500, 'n');  // so that this is more than the sockets of the deaf hold
  for (int round = 0; round < kRounds; ++round) {
    publish(1 + round * kEvents, 1 + (round + 1) * kEvents);
    for (ControlClient& client : clients) {
      ASSERT_EQ(read_events(client, 1 + round * kEvents, kEvents), 0);
    }
  }
  EXPECT_EQ(server_->stats().subscribers, 1000u);
  for (ControlClient& client : deaf) {
    EXPECT_GT(read_events(client, 1, kRounds * kEvents), 0);
  }
}

TEST_F(ControlServerCalls, UnderWayAreWaitedForWhenTheServerStops) {
  add_waiting_handler();
  start();
  ControlClient client = connect();
  ASSERT_TRUE(client.send(create_region()));
  ASSERT_TRUE(wait_for([&](const auto&) { return running_ == 1; }));
  in_loop([&] { EXPECT_EQ(server_->stop(Clock::now()).err(), ETIMEDOUT); });
  EXPECT_NE(::access(options_.path.c_str(), F_OK), 0);
  EXPECT_EQ(client.receive(), std::nullopt);
  go_.set();
  stop();
  EXPECT_EQ(finished_, 1);
}

TEST_F(ControlServerEvents, AndRepliesUnderWayAreDeliveredWhenTheServerStops) {
  handlers_["CreateRegion"] = [this](const Call&, const Peer&) -> HandlerResult {
    ++running_;
    EXPECT_TRUE(go_.wait());
    server_->publish({.seq = 0});
    return Json{{"region", 1}};
  };
  start();
  ControlClient subscriber = subscribe();
  ControlClient client = connect();
  ASSERT_TRUE(client.send(create_region()));
  ASSERT_TRUE(wait_for([&](const auto&) { return running_ == 1; }));
  std::thread release([&] {
    while (::access(options_.path.c_str(), F_OK) == 0) std::this_thread::yield();
    go_.set();  // stop() has begun
  });
  in_loop([&] { EXPECT_EQ(server_->stop(deadline_after(std::chrono::seconds(10))).err(), 0); });
  release.join();
  EXPECT_EQ(client.receive()->parameters["region"], 1);
  EXPECT_EQ(client.receive(), std::nullopt);
  EXPECT_EQ(read_events(subscriber, 0, 1), 0);
  EXPECT_EQ(subscriber.receive(), std::nullopt);
}

}  // namespace
}  // namespace pmemd::test
