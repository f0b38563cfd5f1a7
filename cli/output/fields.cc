#include "cli/output/fields.h"

#include "cli/output/json_output.h"
#include "cli/output/table.h"

namespace pmemd::cli {

namespace {

const Json kNull;
const Json kEmpty = Json::array();

const Json& find(const Json& object, std::string_view key) {
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

}  // namespace

std::string text_of(const Json& object, std::string_view key) {
  const Json& value = find(object, key);
  if (value.is_null()) return "";
  return printable(value.is_string() ? value.get_ref<const std::string&>() : one_line(value));
}

uint64_t number_of(const Json& object, std::string_view key) {
  const Json& value = find(object, key);
  return value.is_number_integer() ? value.get<uint64_t>() : 0;
}

bool flag_of(const Json& object, std::string_view key) {
  const Json& value = find(object, key);
  return value.is_boolean() && value.get<bool>();
}

const Json& list_of(const Json& object, std::string_view key) {
  const Json& value = find(object, key);
  return value.is_array() ? value : kEmpty;
}

}  // namespace pmemd::cli
