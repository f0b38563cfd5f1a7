#include "core/control/varlink.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace pmemd {
namespace {

using namespace std::string_literals;

std::string nested(size_t depth) {
  return R"({"method":"a.B","parameters":{"x":)"s + std::string(depth, '[') +
         std::string(depth, ']') + "}}";
}

int errno_of(std::string_view message) {
  const auto call = parse_call(message);
  if (call) return 0;
  EXPECT_EQ(call.error().name, "org.pmemd.Failed");
  EXPECT_FALSE(call.error().parameters["message"].get<std::string>().empty());
  return call.error().parameters["errno"].get<int>();
}

TEST(ParseCall, ReadsAllFields) {
  const auto call = parse_call(
      R"({"method":"org.pmemd.CreateRegion","parameters":{"size":4096,"sparse":true},"more":true})");
  ASSERT_TRUE(call);
  EXPECT_EQ(call->method, "org.pmemd.CreateRegion");
  EXPECT_EQ(call->number("size"), 4096u);
  EXPECT_TRUE(call->flag("sparse"));
  EXPECT_TRUE(call->more);
  EXPECT_FALSE(call->oneway);
}

TEST(ParseCall, AbsentAndNullAreTheSame) {
  const auto call = parse_call(R"({"method":"a.B","parameters":{"x":null},"upgrade":false})");
  ASSERT_TRUE(call);
  for (const char* name : {"x", "y"}) {
    EXPECT_FALSE(call->flag(name));
    EXPECT_EQ(call->number(name), std::nullopt);
    EXPECT_EQ(call->text(name), std::nullopt);
  }
  EXPECT_TRUE(parse_call(R"({"method":"a.B","parameters":null})"));
}

TEST(ParseCall, RefusesWhatIsNoCall) {
  for (const char* message :
       {"", " ", "{", "null", "1", "[]", "\"x\"", "{}", R"({"method":1})", R"({"method":""})",
        R"({"method":"a.B","parameters":[]})", R"({"method":"a.B","more":1})",
        R"({"method":"a.B","oneway":null})", R"({"method":"a.B","other":1})",
        R"({"method":"a.B"} {})", R"({"method":"a.B","more":true,"oneway":true})",
        R"({"method":"a.B","parameters":{"x":1e999}})"}) {
    EXPECT_EQ(errno_of(message), EBADMSG) << message;
  }
  EXPECT_EQ(errno_of(R"({"method":"a.B","upgrade":true})"), EOPNOTSUPP);
}

TEST(ParseCall, RefusesAmbiguousAndInvalidText) {
  EXPECT_EQ(errno_of(R"({"method":"a.B","method":"a.C"})"), EBADMSG);
  EXPECT_EQ(errno_of(R"({"method":"a.B","parameters":{"x":[{"y":1,"y":2}]}})"), EBADMSG);
  EXPECT_EQ(errno_of("{\"method\":\"a.\xff\"}"), EBADMSG);
  EXPECT_EQ(errno_of("{\"method\":\"a.B\\ud800\"}"), EBADMSG);
  EXPECT_EQ(errno_of("{\"method\":\"a.B\0\"}"s), EBADMSG);
}

TEST(ParseCall, BoundsDepthAndValues) {
  EXPECT_EQ(errno_of(nested(kMaxCallDepth - 2)), 0);
  EXPECT_EQ(errno_of(nested(kMaxCallDepth - 1)), E2BIG);
  EXPECT_EQ(errno_of(nested(30'000)), E2BIG);

  const auto with_values = [](size_t count) {
    std::string list = "0";
    for (size_t i = 1; i < count; ++i) list += ",0";
    return R"({"method":"a.B","parameters":{"x":[)" + list + "]}}";
  };
  EXPECT_EQ(errno_of(with_values(kMaxCallValues - 4)), 0);  // the others: 3 containers, 1 method
  EXPECT_EQ(errno_of(with_values(kMaxCallValues - 3)), E2BIG);
}

TEST(Encode, CallAndReplySurviveTheRoundTrip) {
  Call call{"a.B", {{"x", "y"}}, /*more=*/true, /*oneway=*/false};
  std::string bytes = encode(call);
  ASSERT_EQ(bytes.back(), '\0');
  bytes.pop_back();
  const auto again = parse_call(bytes);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->method, call.method);
  EXPECT_EQ(again->parameters, call.parameters);
  EXPECT_TRUE(again->more);

  bytes = encode(Reply{{{"n", 1}}, /*continues=*/true, {}});
  EXPECT_EQ(bytes, "{\"parameters\":{\"n\":1},\"continues\":true}\0"s);
  bytes.pop_back();
  const auto reply = parse_reply(bytes);
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->continues);
  EXPECT_EQ(reply->parameters["n"], 1);
}

TEST(Encode, NamesThatAreNoTextStayReadable) {
  const std::string bytes = encode(Reply{{{"file", "a\xff\0b"s}}, false, {}});
  EXPECT_EQ(bytes, "{\"parameters\":{\"file\":\"a\xef\xbf\xbd\\u0000b\"}}\0"s);
}

TEST(Encode, FailedTellsAllOfAnError) {
  const Error error{{EBUSY, std::generic_category()}, "namespace0.0: in use", "use --force"};
  const VarlinkError varlink = failed(error, {{"holders", Json::array()}});
  EXPECT_EQ(varlink.name, "org.pmemd.Failed");
  EXPECT_EQ(varlink.parameters.dump(),
            R"({"errno":16,"errno_name":"EBUSY","message":"namespace0.0: in use",)"
            R"("hint":"use --force","holders":[]})");
  EXPECT_EQ(failed(fail(EIO).error()).parameters.dump(),
            R"({"errno":5,"errno_name":"EIO","message":"Input/output error"})");
}

TEST(ParseReply, RefusesWhatIsNoReply) {
  for (const char* message :
       {"", "[]", R"({"error":1})", R"({"continues":1})", R"({"parameters":[]})", "{"}) {
    EXPECT_EQ(parse_reply(message).err(), EBADMSG) << message;
  }
  EXPECT_TRUE(parse_reply("{}"));
}

TEST(MessageSplitter, CutsAtEachNul) {
  MessageSplitter splitter(8);
  splitter.append("ab"s);
  EXPECT_EQ(splitter.next().value(), std::nullopt);
  splitter.append("c\0\0d\0e"s);
  EXPECT_EQ(splitter.next().value(), "abc");
  EXPECT_EQ(splitter.next().value(), "");
  EXPECT_EQ(splitter.next().value(), "d");
  EXPECT_EQ(splitter.next().value(), std::nullopt);
  EXPECT_EQ(splitter.room(), 8u);
}

// Against the plain way to do it, in pieces of all sizes.
TEST(MessageSplitter, CutsAnyStreamInAnyPieces) {
  std::mt19937 random(1);
  const auto below = [&](size_t limit) { return random() % limit; };
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    std::vector<std::string> expected;
    for (size_t count = below(20); count > 0; --count) {
      expected.emplace_back(below(9), 'x');
      stream += expected.back() + '\0';
    }
    MessageSplitter splitter(8);
    std::vector<std::string> got;
    while (!stream.empty()) {
      const size_t piece = std::min({1 + below(9), splitter.room(), stream.size()});
      ASSERT_GT(piece, 0u);
      splitter.append(stream.substr(0, piece));
      stream.erase(0, piece);
      for (auto message = splitter.next(); *message; message = splitter.next()) {
        got.push_back(**message);
        if (below(3) == 0) break;  // the rest after the next piece
      }
    }
    for (auto message = splitter.next(); *message; message = splitter.next()) {
      got.push_back(**message);
    }
    EXPECT_EQ(got, expected);
  }
}

TEST(MessageSplitter, RefusesMessagesBeyondTheLimitAndStaysSo) {
  MessageSplitter splitter(4);
  splitter.append("1234\0"s);
  EXPECT_EQ(splitter.next().value(), "1234");
  splitter.append("1234"s);
  EXPECT_EQ(splitter.next().value(), std::nullopt);
  EXPECT_EQ(splitter.room(), 1u);
  splitter.append("5"s);
  EXPECT_EQ(splitter.next().err(), EMSGSIZE);
  EXPECT_EQ(splitter.room(), 0u);
  splitter.append("\0"s);
  EXPECT_EQ(splitter.next().err(), EMSGSIZE);

  MessageSplitter whole(4);
  whole.append("12345\0"s);
  EXPECT_EQ(whole.next().err(), EMSGSIZE);
}

}  // namespace
}  // namespace pmemd
