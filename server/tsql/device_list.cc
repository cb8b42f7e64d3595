#include "server/tsql/device_list.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::tsql {
namespace {

std::optional<DeviceClass> ClassAtWord(const TokenStream& tokens) {
  for (const DeviceClass device_class :
       {DeviceClass::kDisk, DeviceClass::kUrl, DeviceClass::kTape, DeviceClass::kVirtualDevice}) {
    if (tokens.AtWord(DeviceClassName(device_class)) && tokens.AtSymbol("=", 1)) {
      return device_class;
    }
  }
  return std::nullopt;
}

Result<DeviceClause> ParseDevice(TokenStream& tokens) {
  const std::optional<DeviceClass> device_class = ClassAtWord(tokens);
  if (!device_class.has_value()) {
    const Token at = tokens.Peek();
    CAPSTAN_ASSIGN_OR_RETURN(const std::string logical, tokens.ExpectName());
    if (tokens.AtSymbol("=")) {
      return tokens.Fail(
          at, SqlError(102, at.text).WithHint("devices are DISK, URL, TAPE and VIRTUAL_DEVICE"));
    }
    return tokens.Fail(
        at, SqlError(3206, logical).WithHint("name the device itself, for example DISK = '/path'"));
  }
  tokens.Next();
  tokens.Next();
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(std::string name, tokens.ExpectString());
  if (name.empty()) {
    return tokens.Fail(at, SqlError(3044));
  }
  return DeviceClause{*device_class, std::move(name)};
}

}  // namespace

Result<std::vector<DeviceClause>> ParseDeviceList(TokenStream& tokens) {
  std::vector<DeviceClause> devices;
  const Token first = tokens.Peek();
  do {
    CAPSTAN_ASSIGN_OR_RETURN(DeviceClause device, ParseDevice(tokens));
    devices.push_back(std::move(device));
  } while (tokens.TakeSymbol(","));
  if (devices.size() > kDevicesMax) {
    return tokens.Fail(first, SqlError(3205, kDevicesMax));
  }
  for (const DeviceClause& device : devices) {
    if (device.device_class != devices.front().device_class) {
      return tokens.Fail(first, SqlError(3011));
    }
  }
  return devices;
}

Status CheckSnapshotDevices(TokenStream& tokens, const Token& first,
                            const std::vector<DeviceClause>& devices) {
  if (devices.size() == 1 && devices.front().device_class == DeviceClass::kVirtualDevice) {
    return OkStatus();
  }
  return tokens.Fail(
      first, SqlError(3277).WithHint("a program that takes the snapshot creates the device, and "
                                     "gives its name: VIRTUAL_DEVICE = '...'"));
}

}  // namespace capstan::tsql
