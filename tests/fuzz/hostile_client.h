// HostileClient: a client that speaks the protocol by hand, honestly where a script wants to get
// on, and otherwise not. Fails the program only where an honest client could not go on either.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/fuzz/hostile_peer.h"
#include "tests/support/device_set_pair.h"
#include "vdi/listening_socket.h"
#include "vdi/spsc_ring.h"

namespace capstan::fuzz {

inline constexpr std::uint32_t kHostileDevicesMax = 3;

class HostileClient {
 public:
  // Connects and creates the set; created() is false if the engine would not have the wishes.
  HostileClient(const std::string& path, const std::string& name,
                const vdi::DeviceSetConfig& wishes)
      : socket_(test::Must(vdi::ConnectSocket(path))) {
    auto request = vdi::NewMessage<vdi::CreateMessage>();
    request.wishes = wishes;
    request.name.Set(name);
    test::Must(vdi::SendMessage(socket_.get(), request));
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    auto received = test::Must(vdi::ReceiveMessage(socket_.get(), vdi::Passing::kAcceptFd));
    const auto answer = test::Must(received.As<vdi::CreatedMessage>());
    if (answer.code != static_cast<std::int32_t>(Code::kOk)) {
      return;
    }
    area_.emplace(
        test::Must(vdi::SharedMemory::Adopt(std::move(received.passed_fd),
                                            vdi::ControlAreaSize(wishes.device_count), 4096)),
        wishes.device_count);
    for (std::uint32_t i = 0; i < wishes.device_count; ++i) {
      rings_.push_back(std::make_unique<Rings>(area_->device(i)));
    }
  }
  ~HostileClient() { CAPSTAN_CHECK(!area_ || area_->TailIsUntouched()); }

  bool created() const { return area_.has_value(); }
  ControlArea& area() { return *area_; }
  int socket() const { return socket_.get(); }
  void Disconnect() { socket_.Reset(); }

  // --- as it should be ---

  void Open(std::size_t index) {
    area_->device(index).client_state.store(vdi::kClientOpen);
    Wake();
  }
  // Takes what the engine has sent to a device, and completes the last `count` of it with `code`.
  void Serve(std::size_t index, std::size_t count, std::uint32_t code) {
    Take(index);
    Rings& rings = RingsOf(index);
    for (; count > 0 && !rings.taken.empty(); --count) {
      const vdi::CommandRecord command = rings.taken.back();
      rings.taken.pop_back();
      const std::uint32_t bytes = code == 0 ? command.size : command.size / 2;
      Post(index, {.id = command.id, .position = 77, .code = code, .bytes = bytes, .reserved = 0});
    }
  }
  void Take(std::size_t index) {
    Rings& rings = RingsOf(index);
    vdi::CommandRecord record{};
    // A ring that was spoiled before must not keep this side busy.
    for (int i = 0; i < 300 && rings.commands.Take(record) == vdi::RingResult::kDone; ++i) {
      rings.taken.push_back(record);
    }
  }
  void Wake() { vdi::WakeIfAsleep(area_->header().engine_sleep); }

  // --- as it should not ---

  // Completes one of the commands that were ever seen, or none of them, with anything.
  void Forge(const Step& step) {
    const Rings& rings = RingsOf(step.which);
    std::uint64_t id = step.wide();
    if (step.where % 4 != 0 && !rings.taken.empty()) {
      id = rings.taken[step.where % rings.taken.size()].id + (step.where % 4 == 3 ? 1 : 0);
    }
    Post(step.which, {.id = id,
                      .position = static_cast<std::int64_t>(step.wide()),
                      .code = (step.value & 1) != 0 ? step.value : 0,
                      .bytes = step.value >> 1,
                      .reserved = step.wide()});
  }
  // With success, whether the command was taken or not.
  void CompleteById(std::uint64_t id) {
    Post(0, {.id = id, .position = 0, .code = 0, .bytes = 0, .reserved = 0});
  }
  void ScribbleIntoBuffers(const Step& step) {
    Receive();
    if (buffers_) {
      const std::uint64_t at = step.where * 8ULL % buffers_->size();
      std::memcpy(buffers_->data() + at / 8 * 8, &step.value, sizeof(step.value));
    }
  }
  void PunchHoleIntoBuffers(std::uint64_t where) {
    Receive();
    if (buffers_) {
      PunchHole(buffers_->fd(), where);
    }
  }

 private:
  struct Rings {
    explicit Rings(vdi::DeviceArea& area)
        : commands(area.commands), completions(area.completions) {}
    vdi::RingConsumer<vdi::CommandRecord> commands;
    vdi::RingProducer<vdi::CompletionRecord> completions;
    std::vector<vdi::CommandRecord> taken;  // and not completed by Serve
  };
  Rings& RingsOf(std::size_t index) { return *rings_[index % rings_.size()]; }

  void Post(std::size_t index, const vdi::CompletionRecord& record) {
    [[maybe_unused]] const vdi::RingResult posted = RingsOf(index).completions.Post(record);
    Wake();
  }
  // Reads what the engine has said, and maps the buffer area when it comes.
  void Receive() {
    const timeval at_once{.tv_sec = 0, .tv_usec = 1};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &at_once, sizeof(at_once));
    auto received = vdi::ReceiveMessage(socket_.get(), vdi::Passing::kAcceptFd);
    if (!received.ok() || received->end_of_file() || !received->passed_fd.valid()) {
      return;
    }
    const auto configured = received->As<vdi::ConfiguredMessage>();
    if (configured.ok()) {
      auto mapped =
          vdi::SharedMemory::Adopt(std::move(received->passed_fd), configured->buffer_area_size,
                                   configured->config.alignment);
      buffers_.emplace(test::Must(std::move(mapped)));
    }
  }

  UniqueFd socket_;
  std::optional<ControlArea> area_;
  std::optional<vdi::SharedMemory> buffers_;
  std::vector<std::unique_ptr<Rings>> rings_;
};

// One message of a client's, sound or spoiled, with or without descriptors. What it creates is
// `created`, what it joins is `own_set`: who may join a set may end it, by the rules.
inline void SayTo(int socket, const std::string& created, const std::string& own_set,
                  const Step& step) {
  Bytes bytes;
  switch (step.which % 6) {
    case 0: {
      auto create = vdi::NewMessage<vdi::CreateMessage>();
      create.wishes.device_count = 1;
      create.name.Set(created);
      bytes = BytesOf(create);
      break;
    }
    case 1:
      bytes = BytesOf(vdi::NewAbortMessage(Error(Code::kAborted, "{}", step.value)));
      break;
    case 2:
      bytes = BytesOf(vdi::NewMessage<vdi::CloseMessage>());
      break;
    case 3:
      bytes = BytesOf(vdi::NewMessage<vdi::ConfiguredMessage>());
      break;
    case 4: {
      auto join = vdi::NewMessage<vdi::JoinMessage>();
      join.name.Set(own_set);
      bytes = BytesOf(join);
      break;
    }
    default:
      bytes.resize(step.where % 64, static_cast<std::byte>(step.value));
  }
  Spoil(bytes, step.which / 6U, step);
  std::array<int, 4> fds;
  fds.fill(StrayDescriptor());
  SendRaw(socket, bytes, std::span(fds).first(step.which / 24U % 5));
}

}  // namespace capstan::fuzz
