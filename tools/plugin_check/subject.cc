#include "tools/plugin_check/subject.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include <dlfcn.h>

#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

std::mutex completion_mutex;
std::condition_variable completion_came;

void OnComplete(capstan_request* raw) {
  auto& request = *static_cast<Request*>(raw->context);
  const std::lock_guard lock(completion_mutex);
  if (request.completions.fetch_add(1) == 0) {
    request.seen = *raw;
  }
  completion_came.notify_all();
}

std::string NameOf(int op) {
  switch (op) {
    case CAPSTAN_OP_READ:
      return "READ";
    case CAPSTAN_OP_WRITE:
      return "WRITE";
    case CAPSTAN_OP_CLEAR_ERROR:
      return "CLEAR_ERROR";
    case CAPSTAN_OP_REWIND:
      return "REWIND";
    case CAPSTAN_OP_WRITE_MARK:
      return "WRITE_MARK";
    case CAPSTAN_OP_SKIP_MARKS:
      return "SKIP_MARKS";
    case CAPSTAN_OP_GET_POSITION:
      return "GET_POSITION";
    case CAPSTAN_OP_SET_POSITION:
      return "SET_POSITION";
    case CAPSTAN_OP_FLUSH:
      return "FLUSH";
    case CAPSTAN_OP_COMPLETE:
      return "COMPLETE";
    default:
      return fmt::format("operation {}", op);
  }
}

}  // namespace

std::string MessageOf(const capstan_error& error) {
  const std::string text(error.message, ::strnlen(error.message, sizeof(error.message)));
  return error.os_error == 0
             ? fmt::format("'{}'", text)
             : fmt::format("'{}' ({})", text,
                           ::strerrorname_np(error.os_error) ? ::strerrorname_np(error.os_error)
                                                             : "an unknown errno");
}

std::string Request::Describe() const {
  const bool moves = raw.op == CAPSTAN_OP_READ || raw.op == CAPSTAN_OP_WRITE;
  return moves ? fmt::format("{} of {} bytes at {}", NameOf(raw.op), raw.size, raw.position)
               : NameOf(raw.op);
}

const capstan_plugin* LoadPlugin(const std::string& path, std::string* why) {
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const get = library == nullptr ? nullptr : ::dlsym(library, "capstan_plugin_get");
  if (get == nullptr) {
    const char* const text = ::dlerror();
    *why = text == nullptr ? "unknown error" : text;
    return nullptr;
  }
  const capstan_plugin* const plugin =
      reinterpret_cast<capstan_plugin_get_fn>(get)(CAPSTAN_PLUGIN_ABI_VERSION);
  if (plugin == nullptr) {
    *why = fmt::format("it does not work with version {} of the interface",
                       CAPSTAN_PLUGIN_ABI_VERSION);
  }
  return plugin;
}

// --- Device --------------------------------------------------------------------------------------

Request& Device::Submit(int op, unsigned char* buffer, std::uint32_t size, std::int64_t position) {
  auto& request = *new Request;  // a plugin that lies may complete it again at any time
  request.raw.struct_size = sizeof(capstan_request);
  request.raw.op = op;
  request.raw.buffer = buffer;
  request.raw.size = size;
  request.raw.position = position;
  request.raw.complete = OnComplete;
  request.raw.context = &request;
  request.accepted = subject_->abi().submit(raw_, &request.raw, &request.refusal) == 0;
  return request;
}

Request& Device::StartWrite(const GuardedBuffer& buffer, std::uint64_t position) {
  return Submit(CAPSTAN_OP_WRITE, buffer.data(), buffer.size(),
                static_cast<std::int64_t>(position));
}

Request& Device::StartRead(const GuardedBuffer& buffer, std::uint64_t position) {
  return Submit(CAPSTAN_OP_READ, buffer.data(), buffer.size(), static_cast<std::int64_t>(position));
}

bool Device::WaitFor(Request& request) {
  std::unique_lock lock(completion_mutex);
  return completion_came.wait_for(lock, subject_->setup().patience,
                                  [&] { return request.completions.load() > 0; });
}

void Device::Expect(Request& request) {
  if (!request.accepted) {
    Unjudged("{} was refused: {}", request.Describe(), MessageOf(request.refusal));
  }
  if (!WaitFor(request)) {
    Unjudged("{} was not completed within {} ms", request.Describe(),
             subject_->setup().patience.count());
  }
  if (request.seen.completion_code != CAPSTAN_E_OK) {
    Unjudged("{} ended with {}: {}", request.Describe(), request.seen.completion_code,
             MessageOf(request.seen.error));
  }
}

std::uint32_t Device::CodeOf(Request& request) {
  if (!request.accepted) {
    return CAPSTAN_E_UNSUPPORTED;
  }
  if (!WaitFor(request)) {
    Unjudged("{} was not completed within {} ms", request.Describe(),
             subject_->setup().patience.count());
  }
  return request.seen.completion_code;
}

void Device::Write(const GuardedBuffer& buffer, std::uint64_t position) {
  Expect(StartWrite(buffer, position));
}

void Device::Run(int op) {
  Expect(Submit(op, nullptr, 0, 0));
}

bool Device::TryClose(capstan_outcome outcome, capstan_error* error) {
  return subject_->abi().close(raw_, outcome, error) == 0;
}

void Device::Close(capstan_outcome outcome) {
  capstan_error error{};
  if (!TryClose(outcome, &error)) {
    Unjudged("close({}) failed: {}", static_cast<int>(outcome), MessageOf(error));
  }
}

// --- Subject -------------------------------------------------------------------------------------

Subject::Subject(const Setup& setup) : setup_(setup) {
  std::string why;
  plugin_ = LoadPlugin(setup.plugin, &why);
  if (plugin_ == nullptr) {
    Unjudged("unable to load it: {}", why);
  }
  GuardedBuffer::Align(plugin_->alignment);
  for (const auto& [key, value] : setup.options) {
    capstan_error error{};
    if (plugin_->configure(key.c_str(), value.c_str(), &error) != 0) {
      Unjudged("option '{}' was refused: {}", key, MessageOf(error));
    }
  }
}

std::uint32_t Subject::Aligned(std::uint32_t size) const {
  const std::uint32_t unit = std::max(plugin_->alignment, 1U);  // 0 is for describes-itself
  return (size + unit - 1) / unit * unit;
}

int Subject::TryOpen(capstan_open_mode mode, const OpenWish& wish, capstan_device** raw,
                     capstan_error* error) {
  const capstan_open_params params = {.struct_size = sizeof(capstan_open_params),
                                      .mode = mode,
                                      .target = wish.target.c_str(),
                                      .token = wish.token.c_str(),
                                      .block_size = Aligned(512),
                                      .max_transfer_size = 4U << 20,
                                      .size_estimate = wish.size_estimate,
                                      .queue_depth_max = 16,
                                      .reserved = 0,
                                      .retain_until_unix_s = 0,
                                      .flags = wish.flags,
                                      .reserved2 = 0};
  return plugin_->open(&params, raw, error);
}

Device Subject::Open(capstan_open_mode mode, const OpenWish& wish) {
  capstan_device* raw = nullptr;
  capstan_error error{};
  if (TryOpen(mode, wish, &raw, &error) != 0 || raw == nullptr) {
    Unjudged("open('{}', mode {}) failed: {}", wish.target, static_cast<int>(mode),
             MessageOf(error));
  }
  return {*this, raw};
}

capstan_stat_result Subject::Stat(const std::string& target) {
  capstan_stat_result result{};
  result.struct_size = sizeof(result);
  capstan_error error{};
  if (plugin_->stat(target.c_str(), &result, &error) != 0) {
    Unjudged("stat('{}') failed: {}", target, MessageOf(error));
  }
  return result;
}

int Subject::TryRemove(const std::string& target, capstan_error* error) {
  return plugin_->remove(target.c_str(), error);
}

int Subject::TryRecover(const OpenWish& wish, capstan_recover_action action, capstan_error* error) {
  return plugin_->recover(wish.target.c_str(), wish.token.c_str(), action, error);
}

void Subject::Recover(const OpenWish& wish, capstan_recover_action action) {
  capstan_error error{};
  if (TryRecover(wish, action, &error) != 0) {
    Unjudged("recover('{}', '{}', {}) failed: {}", wish.target, wish.token,
             static_cast<int>(action), MessageOf(error));
  }
}

void Subject::WriteBlocks(Device& device, unsigned seed, int blocks, std::uint64_t from) {
  for (int block = 0; block < blocks; ++block) {
    const std::uint64_t position = from + static_cast<std::uint64_t>(block) * kBlock;
    GuardedBuffer buffer(kBlock);
    buffer.Fill(position, seed);
    device.Write(buffer, position);
  }
}

void Subject::MakeMedium(capstan_open_mode mode, const OpenWish& wish, unsigned seed, int blocks) {
  Device device = Open(mode, wish);
  WriteBlocks(device, seed, blocks);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
}

std::string Subject::MediumDifference(const std::string& target, unsigned seed, int blocks) {
  capstan_device* raw = nullptr;
  capstan_error error{};
  if (TryOpen(CAPSTAN_OPEN_READ, {.target = target}, &raw, &error) != 0) {
    return fmt::format("it cannot be opened: {}", MessageOf(error));
  }
  Device device(*this, raw);
  std::string difference;
  for (int block = 0; block < blocks && difference.empty(); ++block) {
    const std::uint64_t position = static_cast<std::uint64_t>(block) * kBlock;
    GuardedBuffer buffer(kBlock);
    Request& read = device.StartRead(buffer, position);
    if (!read.accepted || !device.WaitFor(read)) {
      difference = fmt::format("{} was not completed", read.Describe());
    } else if (read.seen.completion_code != CAPSTAN_E_OK) {
      difference = fmt::format("{} ended with {}: {}", read.Describe(), read.seen.completion_code,
                               MessageOf(read.seen.error));
    } else {
      difference = buffer.Difference(position, seed, kBlock);
    }
  }
  device.Close(CAPSTAN_OUTCOME_DONE);
  const std::uint64_t size = Stat(target).size;
  if (difference.empty() && !Has(CAPSTAN_FEATURE_FILE_MARKS) &&
      size != static_cast<std::uint64_t>(blocks) * kBlock) {
    difference = fmt::format("stat says {} bytes where {} were written", size,
                             static_cast<std::uint64_t>(blocks) * kBlock);
  }
  return difference;
}

}  // namespace capstan::plugin_check
