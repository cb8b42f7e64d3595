// WitnessSet: a device set in good order beside the one under attack. Whatever happens to that one,
// the witness must do its work, with the right bytes; a witness that cannot ends the program.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/device_set_pair.h"
#include "vdi/client_device_set.h"
#include "vdi/rendezvous.h"
#include "vdi/server_device_set.h"

namespace capstan::fuzz {

class WitnessSet {
 public:
  // In a rendezvous that others use.
  explicit WitnessSet(vdi::Rendezvous& rendezvous)
      : client_(test::Must(
            vdi::ClientDeviceSet::Create(rendezvous.path(), kName, {.device_count = 1}))),
        engine_(test::Must(rendezvous.Open(kName, test::Patience()))) {
    test::Must(engine_->BeginConfiguration({.added_features = vdi::feature::kWriteMedia}));
    test::Must(engine_->RequestBuffers(kSize, 0, 1));
    test::Must(engine_->EndConfiguration(std::vector<std::string>{kName}));
    test::Must(client_->GetConfiguration(test::Patience()));
    client_device_ = test::Must(client_->OpenDevice(kName));
    engine_device_ = test::Must(engine_->OpenDevice(kName, test::Patience()));
    buffer_ = test::Must(engine_->AllocateBuffer(kSize, 0));
  }

  // One Write and one Read.
  void Work() {
    const auto pattern = static_cast<std::byte>(++round_);
    std::fill_n(buffer_, kSize, pattern);
    Exchange(vdi::CommandCode::kWrite, [&](std::byte* seen) {
      CAPSTAN_CHECK(std::all_of(seen, seen + kSize, [&](std::byte b) { return b == pattern; }));
      std::fill_n(seen, kSize, ~pattern);
    });
    std::fill_n(buffer_, kSize, std::byte{0});
    Exchange(vdi::CommandCode::kRead, [&](std::byte* seen) { std::fill_n(seen, kSize, ~pattern); });
    CAPSTAN_CHECK(
        std::all_of(buffer_, buffer_ + kSize, [&](std::byte b) { return b == ~pattern; }));
  }

  void CloseInGoodOrder() {
    test::Must(engine_device_->CloseDevice());
    CAPSTAN_CHECK(!test::Must(client_device_->GetCommand(test::Patience())).has_value());
    test::Must(client_->Close());
    test::Must(engine_->Close());
  }

 private:
  static constexpr const char* kName = "witness";
  static constexpr std::uint32_t kSize = 4096;

  template <typename Execute>
  void Exchange(vdi::CommandCode code, const Execute& execute) {
    test::AwaitedCommand command(code, buffer_, kSize);
    test::Must(engine_device_->SendCommand(command.get()));
    const auto taken = test::Must(client_device_->GetCommand(test::Patience()));
    CAPSTAN_CHECK(taken && taken->code == code && taken->size == kSize);
    execute(taken->buffer);
    test::Must(client_device_->CompleteCommand(taken->id, vdi::CompletionCode::kSuccess, kSize, 0));
    const vdi::ServerCommand& ended = command.Await();
    CAPSTAN_CHECK(ended.completion_code == vdi::CompletionCode::kSuccess);
    CAPSTAN_CHECK(ended.bytes_transferred == kSize);
  }

  std::unique_ptr<vdi::ClientDeviceSet> client_;
  std::unique_ptr<vdi::ServerDeviceSet> engine_;
  vdi::ClientDevice* client_device_ = nullptr;
  vdi::ServerDevice* engine_device_ = nullptr;
  std::byte* buffer_ = nullptr;
  std::uint64_t round_ = 0;
};

}  // namespace capstan::fuzz
