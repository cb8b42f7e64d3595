// What client and engine say to each other over the rendezvous socket: everything but commands.
//
//   client -> engine   Create                    names the set, states its wishes
//   engine -> client   Created + descriptor      the control area, or why not
//   engine -> client   Configured + descriptor   final values, device names, the buffer area
//   either way         Abort                     the set is over, and why
//   either way         Close                     the set is over, in good order
//   client -> engine   Join                      another process wants to be part of a set
//   engine -> client   Joined + descriptor       the control area, or why not; Configured follows
//   engine -> client   Area + descriptor         a further buffer area
//
// One message is one seqpacket datagram. Every message starts with a MessageHeader whose layout
// never changes, so that ends of different versions can tell each other so. Message types are never
// used again for something else. Every process of a set has a connection of its own.
// Whoever reads must expect anything: sizes and counts are checked here, contents by the caller.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"
#include "vdi/device_types.h"

namespace capstan::vdi {

inline constexpr std::uint32_t kMessageMagic = 0x4956'5043;  // "CPVI" in memory
inline constexpr std::uint16_t kMessageVersion = 1;

enum class MessageType : std::uint16_t {
  kCreate = 1,
  kCreated = 2,
  kConfigured = 3,
  kAbort = 4,
  kClose = 5,
  kJoin = 16,
  kJoined = 17,
  kArea = 18,
};

struct MessageHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t type;
  std::uint32_t size;  // of the whole message
  std::uint32_t reserved;
};
static_assert(sizeof(MessageHeader) == 16);

// Text of at most `Capacity` bytes, without a terminator.
template <std::size_t Capacity>
struct WireText {
  std::uint32_t size;
  std::array<char, Capacity> bytes;

  void Set(std::string_view text) {
    size = static_cast<std::uint32_t>(text.copy(bytes.data(), Capacity));
  }
  bool valid() const { return size <= Capacity; }
  std::string_view view() const { return {bytes.data(), valid() ? size : 0}; }
};

struct CreateMessage {
  static constexpr MessageType kType = MessageType::kCreate;
  MessageHeader header;
  DeviceSetConfig wishes;
  WireText<kSetNameSizeMax> name;
};
static_assert(sizeof(CreateMessage) == 192);

struct CreatedMessage {
  static constexpr MessageType kType = MessageType::kCreated;
  MessageHeader header;
  std::uint64_t control_size;  // bytes of the control area, whose descriptor comes along
  std::int32_t code;           // Code::kOk, or why there is no set
  WireText<500> text;
  std::uint32_t reserved;
};
static_assert(sizeof(CreatedMessage) == 536);

struct ConfiguredMessage {
  static constexpr MessageType kType = MessageType::kConfigured;
  MessageHeader header;
  std::uint64_t buffer_area_size;  // bytes of area 0; 0: no buffers, and no descriptor
  DeviceSetConfig config;
  std::array<WireText<kSetNameSizeMax>, kDeviceCountMax> names;
  std::uint32_t buffer_area_alignment;  // where area 0 is mapped, at least
};
static_assert(sizeof(ConfiguredMessage) == 8520);

struct AbortMessage {
  static constexpr MessageType kType = MessageType::kAbort;
  MessageHeader header;
  std::int32_t code;
  WireText<500> text;
  std::uint32_t reserved;
};
static_assert(sizeof(AbortMessage) == 528);

struct CloseMessage {
  static constexpr MessageType kType = MessageType::kClose;
  MessageHeader header;
};

struct JoinMessage {
  static constexpr MessageType kType = MessageType::kJoin;
  MessageHeader header;
  WireText<kSetNameSizeMax> name;
  std::uint32_t reserved;
};
static_assert(sizeof(JoinMessage) == 152);

struct JoinedMessage {
  static constexpr MessageType kType = MessageType::kJoined;
  MessageHeader header;
  std::uint64_t control_size;  // bytes of the control area, whose descriptor comes along
  std::int32_t code;           // Code::kOk, or why not
  std::uint32_t member;        // what this process is called in the set, from 1
  std::uint32_t device_count;
  WireText<500> text;
  WireText<300> hint;
  std::uint32_t reserved;
};
static_assert(sizeof(JoinedMessage) == 848);

// Areas come in order, the first of them as part of Configured if the set has buffers then.
struct AreaMessage {
  static constexpr MessageType kType = MessageType::kArea;
  MessageHeader header;
  std::uint64_t size;       // bytes
  std::uint32_t index;      // below kBufferAreasMax
  std::uint32_t alignment;  // where the area is mapped, at least
};
static_assert(sizeof(AreaMessage) == 32);

// A zeroed message with its header filled in.
template <typename Message>
Message NewMessage() {
  Message message{};
  message.header = {.magic = kMessageMagic,
                    .version = kMessageVersion,
                    .type = static_cast<std::uint16_t>(Message::kType),
                    .size = sizeof(Message),
                    .reserved = 0};
  return message;
}

AbortMessage NewAbortMessage(const Status& why);

// Never blocks and never raises SIGPIPE. `passed_fd` -1: none. kUnavailable: the peer is gone or
// does not read.
Status SendBytes(int socket, const void* message, std::size_t size, int passed_fd);

template <typename Message>
Status SendMessage(int socket, const Message& message, int passed_fd = -1) {
  return SendBytes(socket, &message, sizeof(message), passed_fd);
}

struct ReceivedMessage {
  std::vector<std::byte> bytes;  // empty: the peer has closed the connection
  UniqueFd passed_fd;

  bool end_of_file() const { return bytes.empty(); }
  MessageHeader header() const;

  // kDataLoss: not such a message.
  template <typename Message>
  Result<Message> As() const {
    Message message;
    CAPSTAN_RETURN_IF_ERROR(CopyTo(&message, sizeof(message), Message::kType));
    return message;
  }

 private:
  Status CopyTo(void* message, std::size_t size, MessageType type) const;
};

enum class Passing { kAcceptFd, kRefuseFd };

// The next message; waits for it unless the socket is non-blocking. kDataLoss: what came has no
// sound header. kUnimplemented: another version. kUnavailable: nothing there, or the peer is gone.
Result<ReceivedMessage> ReceiveMessage(int socket, Passing passing);

}  // namespace capstan::vdi
