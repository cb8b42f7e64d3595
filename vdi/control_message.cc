#include "vdi/control_message.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>

namespace capstan::vdi {
namespace {

constexpr std::size_t kMessageSizeMax = 16384;
static_assert(sizeof(ConfiguredMessage) <= kMessageSizeMax);

union FdControl {
  cmsghdr header;
  char space[CMSG_SPACE(sizeof(int))];
};

// The descriptor that came along, if it is one. Where there is room for one, alignment makes room
// for two, and the kernel fills it: what nobody asked for is closed.
UniqueFd TakeFd(msghdr& message) {
  UniqueFd taken;
  std::size_t count = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + (at - CMSG_LEN(0)), sizeof(fd));
      taken.Reset(fd);
      ++count;
    }
  }
  if (count != 1) {
    taken.Reset();
  }
  return taken;
}

Status CheckHeader(const ReceivedMessage& message) {
  if (message.bytes.size() < sizeof(MessageHeader)) {
    return Error(Code::kDataLoss, "message of {} bytes has no header", message.bytes.size());
  }
  const MessageHeader header = message.header();
  if (header.magic != kMessageMagic) {
    return Error(Code::kDataLoss, "message with magic {:#x} is not ours", header.magic);
  }
  if (header.version != kMessageVersion) {
    return Error(Code::kUnimplemented, "the peer speaks version {} of the protocol, this end {}",
                 header.version, kMessageVersion)
        .WithHint("install the same version of Capstan on both ends");
  }
  if (header.size != message.bytes.size()) {
    return Error(Code::kDataLoss, "message of {} bytes claims to have {}", message.bytes.size(),
                 header.size);
  }
  return OkStatus();
}

}  // namespace

AbortMessage NewAbortMessage(const Status& why) {
  auto message = NewMessage<AbortMessage>();
  message.code = static_cast<std::int32_t>(why.code());
  message.text.Set(why.message());
  return message;
}

Status SendBytes(int socket, const void* message, std::size_t size, int passed_fd) {
  iovec part{.iov_base = const_cast<void*>(message), .iov_len = size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  FdControl control{};
  if (passed_fd >= 0) {
    header.msg_control = control.space;
    header.msg_controllen = sizeof(control.space);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &passed_fd, sizeof(passed_fd));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    return OsError(errno, "unable to send to the peer of the device set");
  }
  return OkStatus();
}

MessageHeader ReceivedMessage::header() const {
  MessageHeader header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  return header;
}

Status ReceivedMessage::CopyTo(void* message, std::size_t size, MessageType type) const {
  if (bytes.size() != size || header().type != static_cast<std::uint16_t>(type)) {
    return Error(Code::kDataLoss,
                 "message of type {} with {} bytes came instead of type {} with {}", header().type,
                 bytes.size(), static_cast<int>(type), size);
  }
  std::memcpy(message, bytes.data(), size);
  return OkStatus();
}

Result<ReceivedMessage> ReceiveMessage(int socket, Passing passing) {
  ReceivedMessage message;
  message.bytes.resize(kMessageSizeMax);
  iovec part{.iov_base = message.bytes.data(), .iov_len = message.bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  FdControl control{};
  if (passing == Passing::kAcceptFd) {
    // Without room for them the kernel drops descriptors that come along.
    header.msg_control = control.space;
    header.msg_controllen = sizeof(control.space);
  }
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) {
    return OsError(errno, "unable to receive from the peer of the device set");
  }
  message.passed_fd = TakeFd(header);
  message.bytes.resize(static_cast<std::size_t>(received));
  if (message.end_of_file()) {
    return message;
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return Error(Code::kDataLoss, "message is longer than {} bytes", kMessageSizeMax);
  }
  CAPSTAN_RETURN_IF_ERROR(CheckHeader(message));
  return message;
}

}  // namespace capstan::vdi
