#include "core/control/interface.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/control/descriptions.h"

namespace pmemd {

namespace {

using enum ParameterType;

constexpr bool kOptional = true;

constexpr std::array kListParameters = {
    Parameter{"regions", kBool, kOptional},      Parameter{"namespaces", kBool, kOptional},
    Parameter{"volumes", kBool, kOptional},      Parameter{"idle", kBool, kOptional},
    Parameter{"media_errors", kBool, kOptional}, Parameter{"device_dax", kBool, kOptional}};
constexpr std::array kCreateVolumeParameters = {Parameter{"type", kText, kOptional},
                                                Parameter{"chunk", kInt, kOptional},
                                                Parameter{"legs", kTexts}};
constexpr std::array kDestroyVolumeParameters = {Parameter{"volume", kText},
                                                 Parameter{"force", kBool, kOptional}};
constexpr std::array kCreateRegionParameters = {Parameter{"size", kInt},
                                                Parameter{"sparse", kBool, kOptional},
                                                Parameter{"base", kInt, kOptional}};
constexpr std::array kCreateNamespaceParameters = {
    Parameter{"region", kText, kOptional}, Parameter{"mode", kText, kOptional},
    Parameter{"size", kInt, kOptional}, Parameter{"align", kInt, kOptional}};
constexpr std::array kDestroyNamespaceParameters = {Parameter{"namespace", kText},
                                                    Parameter{"force", kBool, kOptional}};
constexpr std::array kNamespaceParameter = {Parameter{"namespace", kText}};
constexpr std::array kRegionParameter = {Parameter{"region", kText}};
constexpr std::array kDestroyRegionParameters = {Parameter{"region", kText},
                                                 Parameter{"force", kBool, kOptional}};
constexpr std::array kMappersParameters = {Parameter{"namespace", kText, kOptional}};
constexpr std::array kRefsParameters = {
    Parameter{"namespace", kText, kOptional}, Parameter{"file", kText, kOptional},
    Parameter{"offset", kInt, kOptional}, Parameter{"length", kInt, kOptional}};
constexpr std::array kObjectParameter = {Parameter{"object", kText}};
constexpr std::array kConfigureParameters = {Parameter{"namespace", kText},
                                             Parameter{"settings", kText, kOptional},
                                             Parameter{"profile", kText, kOptional}};
constexpr std::array kStartScrubParameters = {
    Parameter{"object", kText, kOptional}, Parameter{"offset", kInt, kOptional},
    Parameter{"length", kInt, kOptional}, Parameter{"rate", kInt, kOptional}};
constexpr std::array kWaitScrubParameters = {Parameter{"object", kText, kOptional}};
constexpr std::array kMediaParameters = {
    Parameter{"namespace", kText, kOptional}, Parameter{"file", kText, kOptional},
    Parameter{"offset", kInt, kOptional}, Parameter{"length", kInt, kOptional}};
constexpr std::array kPrefaultParameters = {
    Parameter{"namespace", kText, kOptional}, Parameter{"file", kText, kOptional},
    Parameter{"offset", kInt, kOptional}, Parameter{"length", kInt, kOptional},
    Parameter{"keep_free", kInt, kOptional}};
constexpr std::array kInjectErrorParameters = {
    Parameter{"namespace", kText, kOptional}, Parameter{"file", kText, kOptional},
    Parameter{"offset", kInt, kOptional},     Parameter{"length", kInt, kOptional},
    Parameter{"random", kInt, kOptional},     Parameter{"seed", kInt, kOptional},
    Parameter{"latent", kBool, kOptional},    Parameter{"saturate", kBool, kOptional},
    Parameter{"dry_run", kBool, kOptional},   Parameter{"nth", kInt, kOptional},
    Parameter{"on", kText, kOptional},        Parameter{"after_ms", kInt, kOptional}};
constexpr std::array kFailAtParameters = {Parameter{"step", kText},
                                          Parameter{"count", kInt, kOptional},
                                          Parameter{"delay_ms", kInt, kOptional}};
constexpr std::array kExplainParameters = {Parameter{"pfn", kInt, kOptional},
                                           Parameter{"address", kInt, kOptional}};
constexpr std::array kMonitorParameters = {
    Parameter{"since", kInt, kOptional}, Parameter{"namespaces", kText, kOptional},
    Parameter{"kinds", kText, kOptional}, Parameter{"file", kText, kOptional},
    Parameter{"follow", kBool, kOptional}};
constexpr std::array kInterfaceParameter = {Parameter{"interface", kText}};

// The parameters that both kinds of removal take beside the object.
constexpr std::array<Parameter, 9> removal_of(std::string_view object) {
  return {Parameter{object, kText},
          Parameter{"force", kBool, kOptional},
          Parameter{"surprise", kBool, kOptional},
          Parameter{"dry_run", kBool, kOptional},
          Parameter{"wait_ms", kInt, kOptional},
          Parameter{"grace_ms", kInt, kOptional},
          Parameter{"kill", kBool, kOptional},
          Parameter{"abandon", kBool, kOptional},
          Parameter{"drain_timeout_ms", kInt, kOptional}};
}
constexpr std::array kDisableNamespaceParameters = removal_of("namespace");
constexpr std::array kDisableRegionParameters = removal_of("region");

constexpr std::array kMethods = {
    Method{kServiceInterface, "GetInfo", Access::kAnyone, false, {}},
    Method{kServiceInterface, "GetInterfaceDescription", Access::kAnyone, false,
           kInterfaceParameter},
    Method{kInterface, "List", Access::kAnyone, false, kListParameters},
    Method{kInterface, "Status", Access::kAnyone, false, {}},
    Method{kInterface, "Mappers", Access::kAnyone, false, kMappersParameters},
    Method{kInterface, "Refs", Access::kAnyone, false, kRefsParameters},
    Method{kInterface, "Explain", Access::kAnyone, false, kExplainParameters},
    Method{kInterface, "ListFaults", Access::kAnyone, false, {}},
    Method{kInterface, "Monitor", Access::kAnyone, true, kMonitorParameters},
    Method{kInterface, "Check", Access::kAnyone, false, {}},
    Method{kInterface, "CreateRegion", Access::kOwner, false, kCreateRegionParameters},
    Method{kInterface, "DestroyRegion", Access::kOwner, false, kDestroyRegionParameters},
    Method{kInterface, "CreateNamespace", Access::kOwner, false, kCreateNamespaceParameters},
    Method{kInterface, "DestroyNamespace", Access::kOwner, false, kDestroyNamespaceParameters},
    Method{kInterface, "CreateVolume", Access::kOwner, false, kCreateVolumeParameters},
    Method{kInterface, "DestroyVolume", Access::kOwner, false, kDestroyVolumeParameters},
    Method{kInterface, "EnableNamespace", Access::kOwner, false, kNamespaceParameter},
    Method{kInterface, "EnableRegion", Access::kOwner, false, kRegionParameter},
    Method{kInterface, "DisableNamespace", Access::kOwner, false, kDisableNamespaceParameters},
    Method{kInterface, "DisableRegion", Access::kOwner, false, kDisableRegionParameters},
    Method{kInterface, "Prefault", Access::kOwner, false, kPrefaultParameters},
    Method{kInterface, "BadBlocks", Access::kAnyone, false, kObjectParameter},
    Method{kInterface, "Settings", Access::kAnyone, false, kNamespaceParameter},
    Method{kInterface, "Configure", Access::kOwner, false, kConfigureParameters},
    Method{kInterface, "StartScrub", Access::kOwner, false, kStartScrubParameters},
    Method{kInterface, "WaitScrub", Access::kAnyone, true, kWaitScrubParameters},
    Method{kInterface, "InjectError", Access::kOwner, false, kInjectErrorParameters},
    Method{kInterface, "UninjectError", Access::kOwner, false, kMediaParameters},
    Method{kInterface, "InjectedErrors", Access::kAnyone, false, kNamespaceParameter},
    Method{kInterface, "ClearErrors", Access::kOwner, false, kMediaParameters},
    Method{kInterface, "FailAt", Access::kOwner, false, kFailAtParameters},
    Method{kInterface, "ClearFaults", Access::kOwner, false, {}},
};

VarlinkError service_error(std::string_view name, std::string_view key, std::string_view value) {
  Json parameters = Json::object();
  // Names come from outside and go back; cut to what a person would read.
  if (!key.empty()) parameters[std::string(key)] = std::string(value.substr(0, 256));
  return {std::string(kServiceInterface) + "." + std::string(name), std::move(parameters)};
}

VarlinkError invalid_parameter(std::string_view name) {
  return service_error("InvalidParameter", "parameter", name);
}

bool has_type(const Json& value, ParameterType type) {
  switch (type) {
    case kBool:
      return value.is_boolean();
    case kInt:
      // Values above 2^63 - 1 also come out negative here.
      return value.is_number_integer() && value.get<int64_t>() >= 0;
    case kText: {
      if (!value.is_string()) return false;
      const auto& text = value.get_ref<const std::string&>();
      return text.size() <= kMaxTextBytes && text.find('\0') == std::string::npos;
    }
    case kTexts:
      return value.is_array() && std::ranges::all_of(value, [](const Json& element) {
               return has_type(element, kText);
             });
  }
  return false;
}

}  // namespace

std::span<const Method> methods() { return kMethods; }

std::expected<const Method*, VarlinkError> find_method(const Call& call) {
  const std::string_view full_name = call.method;
  const size_t dot = full_name.rfind('.');
  const std::string_view interface = full_name.substr(0, dot);  // the whole, if there is no dot
  const std::string_view name =
      dot == std::string_view::npos ? std::string_view() : full_name.substr(dot + 1);
  for (const Method& method : kMethods) {
    if (method.interface == interface && method.name == name) return &method;
  }
  if (interface_description(interface).empty()) {
    return std::unexpected(service_error("InterfaceNotFound", "interface", interface));
  }
  return std::unexpected(service_error("MethodNotFound", "method", full_name));
}

std::optional<VarlinkError> check_parameters(const Method& method, const Call& call) {
  if (method.streams && !call.more) return service_error("ExpectedMore", "", "");
  for (const auto& [name, value] : call.parameters.items()) {
    const Parameter* known = nullptr;
    for (const Parameter& parameter : method.parameters) {
      if (parameter.name == name) known = &parameter;
    }
    if (known == nullptr) return invalid_parameter(name);
    if (!has_type(value, known->type) && !(value.is_null() && known->optional)) {
      return invalid_parameter(name);
    }
  }
  for (const Parameter& parameter : method.parameters) {
    if (!parameter.optional && !call.parameters.contains(parameter.name)) {
      return invalid_parameter(parameter.name);
    }
  }
  return std::nullopt;
}

std::expected<Json, VarlinkError> answer_service_call(const Call& call) {
  if (!call.method.ends_with(".GetInterfaceDescription")) {
    return Json{{"vendor", "pmemd"},
                {"product", "pmemd"},
                {"version", PMEMD_VERSION},
                {"url", ""},
                {"interfaces", {kServiceInterface, kInterface}}};
  }
  const std::string interface = call.text("interface").value_or("");
  const std::string_view description = interface_description(interface);
  if (description.empty()) {
    return std::unexpected(service_error("InterfaceNotFound", "interface", interface));
  }
  return Json{{"description", description}};
}

std::string_view interface_description(std::string_view interface) {
  if (interface == kInterface) return kPmemdDescription;
  if (interface == kServiceInterface) return kServiceDescription;
  return {};
}

VarlinkError method_not_implemented(const Call& call) {
  return service_error("MethodNotImplemented", "method", call.method);
}

VarlinkError permission_denied() { return service_error("PermissionDenied", "", ""); }

}  // namespace pmemd
