#include "client/keeper/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <latch>
#include <thread>
#include <vector>

namespace pmemd::test {
namespace {

constexpr int kPatienceMs = 30'000;
constexpr int kSlots = 32;

std::atomic<int> served = 0;
std::atomic<int> undone = 0;

int answer(mail* mail) {
  ++served;
  mail->query.length = mail->query.offset * 2;
  return -static_cast<int>(mail->id);
}
void undo(mail* /*mail*/, int /*result*/) { ++undone; }

// Serves until it goes.
class Server {
 public:
  Server() : thread_([this] { run(); }) {}
  ~Server() {
    ending_ = true;
    mail last = {};
    mail_call(&last, kPatienceMs);
    thread_.join();
  }

 private:
  void run() const {
    while (!ending_) {
      const uint32_t seen = mail_posted();
      if (!mail_serve(answer, undo) && !ending_) mail_wait(seen);
    }
    mail_serve(answer, undo);
  }
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

class Mailbox : public ::testing::Test {
 protected:
  void SetUp() override {
    mail_reset();
    served = 0;
    undone = 0;
  }
};

mail asking(uint64_t offset, uint64_t id = 0) {
  mail mail = {};
  mail.op = MAIL_QUERY;
  mail.query.offset = offset;
  mail.id = id;
  return mail;
}

TEST_F(Mailbox, EachCallerGetsItsOwnAnswer) {
  const Server server;
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([t] {
      for (uint64_t i = 0; i < 500; ++i) {
        mail mail = asking(t * 1000 + i, t);
        EXPECT_EQ(mail_call(&mail, kPatienceMs), -static_cast<int>(t));
        EXPECT_EQ(mail.query.length, 2 * (t * 1000 + i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Mailbox, WhatNobodyServesInTimeIsNotDone) {
  mail mail = asking(1);
  EXPECT_EQ(mail_call(&mail, 1), -ETIMEDOUT);
  EXPECT_TRUE(mail_serve(answer, undo));  // finds it given up
  EXPECT_FALSE(mail_serve(answer, undo));
  EXPECT_EQ(served, 0);
  EXPECT_EQ(undone, 0);
}

std::latch* begun;
std::latch* given_up;

TEST_F(Mailbox, WhatIsServedTooLateIsUndone) {
  std::latch started(1);
  std::latch timed_out(1);
  begun = &started;
  given_up = &timed_out;
  std::thread caller([] {
    mail mail = asking(1);
    // The server waits for this call's end, so that is its deadline.
    EXPECT_EQ(mail_call(&mail, 1), -ETIMEDOUT);
    given_up->count_down();
  });
  // The caller may also give up before it is served at all.
  const uint32_t seen = mail_posted();
  if (seen == 0) mail_wait(seen);
  while (!mail_serve(
      [](mail* mail) {
        given_up->wait();
        return answer(mail);
      },
      undo)) {
    std::this_thread::yield();
  }
  caller.join();
  EXPECT_EQ(undone, served.load());
  EXPECT_FALSE(mail_serve(answer, undo));
}

TEST_F(Mailbox, ACallWithoutAPlaceTimesOut) {
  const uint32_t before = mail_posted();
  std::vector<std::thread> threads;
  threads.reserve(kSlots);
  for (uint64_t i = 0; i < kSlots; ++i) {
    threads.emplace_back([i] {
      mail mail = asking(i);
      EXPECT_EQ(mail_call(&mail, kPatienceMs), 0);
      EXPECT_EQ(mail.query.length, 2 * i);
    });
  }
  while (mail_posted() - before < kSlots) std::this_thread::yield();
  mail one_more = asking(1);
  EXPECT_EQ(mail_call(&one_more, 1), -ETIMEDOUT);
  EXPECT_TRUE(mail_serve(answer, undo));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, kSlots);
}

TEST_F(Mailbox, NoHandlerRunsWhileACallWaits) {
  static std::atomic<bool> in_call = false;
  static std::atomic<int> handled_in_call = 0;
  static std::atomic<int> handled = 0;
  std::signal(SIGUSR1, [](int) {
    ++handled;
    if (in_call) ++handled_in_call;
  });
  const pthread_t self = pthread_self();
  const uint32_t before = mail_posted();
  std::thread server([self, before] {
    while (mail_posted() == before) std::this_thread::yield();
    in_call = true;
    pthread_kill(self, SIGUSR1);
    mail_serve(
        [](mail* mail) {
          in_call = false;
          return answer(mail);
        },
        undo);
  });
  mail mail = asking(3);
  EXPECT_EQ(mail_call(&mail, kPatienceMs), 0);
  server.join();
  EXPECT_EQ(handled_in_call, 0);
  EXPECT_EQ(handled, 1);
  std::signal(SIGUSR1, SIG_DFL);
}

}  // namespace
}  // namespace pmemd::test
