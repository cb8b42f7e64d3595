// HostileEngine: an engine that speaks the protocol by hand, honestly where a script wants to get
// on, and otherwise not. It listens on a socket of its own.
// Threads: one of its own answers a client's Create, because ClientDeviceSet::Create waits for
// that.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>

#include "tests/fuzz/hostile_peer.h"
#include "tests/support/device_set_pair.h"
#include "vdi/listening_socket.h"
#include "vdi/spsc_ring.h"

namespace capstan::fuzz {

inline constexpr std::uint64_t kEngineBufferSize = 65536;

// A sealed memfd, as engines make them. Seals, reserved pages and size may be left out or wrong.
enum class Forgery { kNone, kUnsealed, kTooSmall, kSparseGiant, kNoMemory };
inline UniqueFd ForgeMemory(Forgery forgery, std::uint64_t size) {
  if (forgery == Forgery::kNoMemory) {
    return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  }
  UniqueFd fd(::memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (forgery == Forgery::kTooSmall) {
    size /= 2;
  } else if (forgery == Forgery::kSparseGiant) {
    size = 1ULL << 40;
  }
  const auto bytes = static_cast<off_t>(size);
  CAPSTAN_CHECK((forgery == Forgery::kSparseGiant ? ::ftruncate(fd.get(), bytes)
                                                  : ::posix_fallocate(fd.get(), 0, bytes)) == 0);
  if (forgery != Forgery::kUnsealed) {
    CAPSTAN_CHECK(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
  }
  return fd;
}

class HostileEngine {
 public:
  // How Create and OpenInSecondary are answered.
  struct Answer {
    std::uint32_t device_count = 1;  // of the control area that is drawn
    unsigned spoil = 0;              // see Spoil
    Forgery forgery = Forgery::kNone;
    std::size_t fd_count = 1;
    bool refuse = false;
    bool spoil_area = false;
    Step step;  // what to spoil with
  };

  explicit HostileEngine(const std::string& path)
      : listener_(test::Must(vdi::ListeningSocket::Bind(path, 0600))) {}

  // Answers the next Create on a thread; Connected() waits for it.
  void AwaitCreate(const Answer& answer) {
    socket_.Reset();
    area_.reset();
    rings_.clear();
    thread_ = std::jthread([this, answer] { AnswerCreate(answer); });
  }
  void Connected() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  bool has_area() const { return area_.has_value(); }
  ControlArea& area() { return *area_; }
  void Disconnect() { socket_.Reset(); }
  void Forget() {
    socket_.Reset();
    CAPSTAN_CHECK(!area_ || area_->TailIsUntouched());
    area_.reset();
    rings_.clear();
  }

  // Configured, with device names "0", "1", ...; sound but for what the step spoils.
  void Configure(std::uint32_t device_count, const Step& step) {
    auto message = vdi::NewMessage<vdi::ConfiguredMessage>();
    message.buffer_area_size = kEngineBufferSize;
    message.config = {.device_count = device_count, .alignment = 4096, .block_size = 512};
    message.config.buffer_area_size = kEngineBufferSize;
    message.buffer_area_alignment = 4096;
    for (std::uint32_t i = 0; i < vdi::kDeviceCountMax; ++i) {
      message.names[i].Set(std::to_string(i));
    }
    const unsigned variant = step.which;
    if (variant / 4 % 8 == 1) {
      message.config.alignment = step.value;
    } else if (variant / 4 % 8 == 4) {
      message.buffer_area_alignment = step.value;
    } else if (variant / 4 % 8 == 2) {
      message.config.device_count = step.value % 80;
    } else if (variant / 4 % 8 == 3) {
      message.buffer_area_size = 1ULL << 40;
    }
    Bytes bytes = BytesOf(message);
    Spoil(bytes, variant, step);
    SendWithMemory(bytes, static_cast<Forgery>(variant / 32U % 8 < 5 ? variant / 32U : 0),
                   kEngineBufferSize, variant == 0xFF ? 3 : 1);
  }
  // A further buffer area, sound if `value` is the index that comes next.
  void AddArea(const Step& step) {
    auto message = vdi::NewMessage<vdi::AreaMessage>();
    message.size = kEngineBufferSize;
    message.index = step.value % 20;
    message.alignment = step.where % 4 == 3 ? step.value : 4096;
    Bytes bytes = BytesOf(message);
    Spoil(bytes, step.which % 8U < 4 ? 0 : step.which, step);
    SendWithMemory(bytes, static_cast<Forgery>(step.which / 8U % 8 < 5 ? step.which / 8U % 8 : 0),
                   kEngineBufferSize, 1 + step.where / 4U % 2);
  }
  void Say(const Step& step) {
    Bytes bytes;
    switch (step.which % 4) {
      case 0:
        bytes = BytesOf(vdi::NewAbortMessage(Error(Code::kAborted, "{}", step.value)));
        break;
      case 1:
        bytes = BytesOf(vdi::NewMessage<vdi::CloseMessage>());
        break;
      case 2:
        bytes = BytesOf(vdi::NewMessage<vdi::CreatedMessage>());
        break;
      default:
        bytes.resize(step.where % 64, static_cast<std::byte>(step.value));
    }
    Spoil(bytes, step.which / 4U, step);
    std::array<int, 4> fds;
    fds.fill(StrayDescriptor());
    SendRaw(socket_.get(), bytes, std::span(fds).first(step.which / 16U % 5));
  }

  // Posts a command as an engine would; a step may put anything into it.
  void Send(std::size_t device, const vdi::CommandRecord& record) {
    [[maybe_unused]] const vdi::RingResult posted =
        rings_[device % rings_.size()]->commands.Post(record);
    vdi::WakeIfAsleep(area_->device(device).client_sleep);
  }
  std::uint64_t NextId() {
    ++serial_;
    return serial_ << 8 | serial_ % vdi::kRingCapacity;
  }

 private:
  struct Rings {
    explicit Rings(vdi::DeviceArea& area) : commands(area.commands) {}
    vdi::RingProducer<vdi::CommandRecord> commands;
  };

  void AnswerCreate(const Answer& answer);
  template <typename Message>
  static Message AnswerTo(const Answer& answer);
  void DrawArea(std::uint32_t device_count, UniqueFd memory, const Answer& answer);
  void SendWithMemory(const Bytes& bytes, Forgery forgery, std::uint64_t size,
                      std::size_t fd_count) {
    const UniqueFd memory = ForgeMemory(forgery, size);
    const std::array<int, 4> fds = {memory.get(), memory.get(), memory.get(), memory.get()};
    SendRaw(socket_.get(), bytes, std::span(fds).first(fd_count % 5));
  }

  vdi::ListeningSocket listener_;
  UniqueFd socket_;
  std::optional<ControlArea> area_;
  std::vector<std::unique_ptr<Rings>> rings_;
  std::uint64_t serial_ = 0;
  std::jthread thread_;  // answers one Create
};

template <typename Message>
Message HostileEngine::AnswerTo(const Answer& answer) {
  auto message = vdi::NewMessage<Message>();
  message.control_size = vdi::ControlAreaSize(answer.device_count);
  if constexpr (requires { message.member; }) {
    message.member = 1;
    message.device_count = answer.device_count;
  }
  if (answer.refuse) {
    message.code = static_cast<std::int32_t>(answer.step.value);
    message.text.Set("no");
    message.text.size = answer.step.where;
  }
  return message;
}

inline void HostileEngine::AnswerCreate(const Answer& answer) {
  pollfd waiting{.fd = listener_.fd(), .events = POLLIN, .revents = 0};
  CAPSTAN_CHECK(::poll(&waiting, 1, 10'000) == 1);
  socket_.Reset(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  CAPSTAN_CHECK(socket_.valid());
  const auto asked = test::Must(vdi::ReceiveMessage(socket_.get(), vdi::Passing::kRefuseFd));
  const bool joins = asked.header().type == static_cast<std::uint16_t>(vdi::MessageType::kJoin);
  Bytes bytes = joins ? BytesOf(AnswerTo<vdi::JoinedMessage>(answer))
                      : BytesOf(AnswerTo<vdi::CreatedMessage>(answer));
  Spoil(bytes, answer.spoil, answer.step);
  if (answer.forgery != Forgery::kNone) {
    return SendWithMemory(bytes, answer.forgery, vdi::ControlAreaSize(answer.device_count),
                          answer.fd_count);
  }
  const UniqueFd memory = ForgeMemory(Forgery::kNone, vdi::ControlAreaSize(answer.device_count));
  DrawArea(answer.device_count, UniqueFd(::dup(memory.get())), answer);
  const std::array<int, 4> fds = {memory.get(), memory.get(), memory.get(), memory.get()};
  SendRaw(socket_.get(), bytes, std::span(fds).first(answer.fd_count % 5));
  if (joins) {
    Configure(answer.device_count, {});
  }
}

inline void HostileEngine::DrawArea(std::uint32_t device_count, UniqueFd memory,
                                    const Answer& answer) {
  area_.emplace(test::Must(vdi::SharedMemory::Adopt(std::move(memory),
                                                    vdi::ControlAreaSize(device_count), 4096)),
                device_count);
  vdi::ControlHeader& header = area_->header();
  header.version = vdi::kSegmentVersion;
  header.header_size = sizeof(vdi::ControlHeader);
  header.device_area_size = vdi::kDeviceAreaSize;
  header.device_count = device_count;
  header.ring_capacity = vdi::kRingCapacity;
  header.magic = vdi::kSegmentMagic;
  if (answer.spoil_area) {
    area_->PokeWord(answer.step.where % 16, answer.step.wide());
  }
  for (std::uint32_t i = 0; i < device_count; ++i) {
    rings_.push_back(std::make_unique<Rings>(area_->device(i)));
  }
}

}  // namespace capstan::fuzz
