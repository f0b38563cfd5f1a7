// A small reader of Varlink interface files, to hold the daemon's replies against them.
//
// It knows what our files use: interface, type, method, error; bool, int, string, named types,
// [] and ?, and enums. Not: float, object, [string], structs within structs.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/control/varlink.h"

namespace pmemd::test {

struct IdlType {
  bool optional = false;
  bool array = false;
  std::string name;                // "int", "Region"; empty: an enum
  std::vector<std::string> words;  // of the enum
};
struct IdlField {
  std::string name;
  IdlType type;
};
using IdlStruct = std::vector<IdlField>;

struct IdlMethod {
  IdlStruct in;
  IdlStruct out;
};

struct Idl {
  std::string interface;
  std::map<std::string, IdlStruct> types;
  std::map<std::string, IdlMethod> methods;
  std::map<std::string, IdlStruct> errors;

  // Throws std::runtime_error with the line that isn't understood.
  static Idl parse(std::string_view text);

  // What is wrong with a reply's parameters, as "holders[0].pid: not an int"; empty: nothing.
  std::string check_reply(const std::string& method, const Json& parameters) const;
  std::string check(const IdlStruct& fields, const Json& object) const;

 private:
  std::string check_value(const IdlType& type, const Json& value) const;
};

}  // namespace pmemd::test
