#include "tests/unit/control/idl.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace pmemd::test {

namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool at_end() {
    skip_space();
    return text_.empty();
  }
  bool take(std::string_view token) {
    skip_space();
    if (!text_.starts_with(token)) return false;
    advance(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) complain(fmt::format("'{}' expected", token));
  }
  std::string word(std::string_view also = "_") {
    skip_space();
    size_t length = 0;
    while (length < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[length])) ||
                                     also.find(text_[length]) != std::string_view::npos)) {
      ++length;
    }
    if (length == 0) complain("a name expected");
    std::string result(text_.substr(0, length));
    advance(length);
    return result;
  }

  IdlType type() {
    IdlType result;
    result.optional = take("?");
    result.array = take("[]");
    if (take("(")) {
      do result.words.push_back(word());
      while (take(","));
      expect(")");
    } else {
      result.name = word();
    }
    return result;
  }
  IdlStruct fields() {
    IdlStruct result;
    expect("(");
    if (take(")")) return result;
    do {
      std::string name = word();
      expect(":");
      result.push_back({std::move(name), type()});
    } while (take(","));
    expect(")");
    return result;
  }

 private:
  void advance(size_t count) {
    line_ += std::count(text_.begin(), text_.begin() + count, '\n');
    text_.remove_prefix(count);
  }
  void skip_space() {
    while (!text_.empty()) {
      if (std::isspace(static_cast<unsigned char>(text_[0]))) {
        advance(1);
      } else if (text_[0] == '#') {
        advance(std::min(text_.find('\n'), text_.size()));
      } else {
        return;
      }
    }
  }
  [[noreturn]] void complain(const std::string& what) const {
    throw std::runtime_error(fmt::format("line {}: {}", line_, what));
  }

  std::string_view text_;
  long line_ = 1;
};

}  // namespace

Idl Idl::parse(std::string_view text) {
  Idl idl;
  Reader reader(text);
  reader.expect("interface");
  idl.interface = reader.word("_.");
  while (!reader.at_end()) {
    if (reader.take("type ")) {
      const std::string name = reader.word();
      idl.types[name] = reader.fields();
    } else if (reader.take("error ")) {
      const std::string name = reader.word();
      idl.errors[name] = reader.fields();
    } else {
      reader.expect("method ");
      IdlMethod& method = idl.methods[reader.word()];
      method.in = reader.fields();
      reader.expect("->");
      method.out = reader.fields();
    }
  }
  return idl;
}

std::string Idl::check_reply(const std::string& method, const Json& parameters) const {
  const auto found = methods.find(method);
  return found == methods.end() ? "no such method" : check(found->second.out, parameters);
}

std::string Idl::check(const IdlStruct& fields, const Json& object) const {
  if (!object.is_object()) return ": not an object";
  for (const IdlField& field : fields) {
    if (!object.contains(field.name)) {
      if (!field.type.optional) return fmt::format(".{}: missing", field.name);
      continue;
    }
    const std::string wrong = check_value(field.type, object[field.name]);
    if (!wrong.empty()) return fmt::format(".{}{}", field.name, wrong);
  }
  for (const auto& [key, value] : object.items()) {
    const auto known = std::find_if(fields.begin(), fields.end(),
                                    [&](const IdlField& field) { return field.name == key; });
    if (known == fields.end()) return fmt::format(".{}: unknown", key);
  }
  return "";
}

std::string Idl::check_value(const IdlType& type, const Json& value) const {
  if (type.optional && value.is_null()) return "";
  if (type.array) {
    if (!value.is_array()) return ": not an array";
    IdlType element = type;
    element.array = element.optional = false;
    for (size_t i = 0; i < value.size(); ++i) {
      const std::string wrong = check_value(element, value[i]);
      if (!wrong.empty()) return fmt::format("[{}]{}", i, wrong);
    }
    return "";
  }
  if (type.name.empty()) {
    const bool known = value.is_string() && std::find(type.words.begin(), type.words.end(),
                                                      value.get<std::string>()) != type.words.end();
    return known ? "" : ": none of the enum's words";
  }
  if (type.name == "bool") return value.is_boolean() ? "" : ": not a bool";
  if (type.name == "int") return value.is_number_integer() ? "" : ": not an int";
  if (type.name == "string") return value.is_string() ? "" : ": not a string";
  const auto named = types.find(type.name);
  return named == types.end() ? ": unknown type " + type.name : check(named->second, value);
}

}  // namespace pmemd::test
