// ClientVirtualDeviceSet, as the program calls it.
#include <bit>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "vdi/base/mutex.h"
#include "vdi/client_device_set.h"
#include "vdi/sqlvdi/diagnostics.h"
#include "vdi/sqlvdi/error_codes.h"
#include "vdi/sqlvdi/guarded.h"
#include "vdi/sqlvdi/include/vdi.h"
#include "vdi/sqlvdi/set_session.h"
#include "vdi/sqlvdi/settings.h"
#include "vdi/sqlvdi/timeouts.h"

using capstan::Code;
using capstan::Error;
using capstan::MutexLock;
using capstan::OkStatus;
using capstan::Result;
using capstan::Status;
using capstan::sqlvdi::ConfigurationTimeoutMs;
using capstan::sqlvdi::Diagnostics;
using capstan::sqlvdi::Guarded;
using capstan::sqlvdi::NextStep;
using capstan::sqlvdi::SetSession;
using capstan::sqlvdi::Settings;
using capstan::vdi::ClientDeviceSet;

namespace {

// Shared, because calls that are under way on other threads keep their session until they return.
using SessionPointer = std::shared_ptr<SetSession>;

constexpr std::string_view kCreate = "ClientVirtualDeviceSet::Create";
constexpr std::string_view kOpenInSecondary = "ClientVirtualDeviceSet::OpenInSecondary";
constexpr std::string_view kGetConfiguration = "ClientVirtualDeviceSet::GetConfiguration";
constexpr std::string_view kPoll = "ClientVirtualDeviceSet::GetConfiguration(0)";
constexpr std::string_view kOpenDevice = "ClientVirtualDeviceSet::OpenDevice";
constexpr std::string_view kGetBufferHandle = "ClientVirtualDeviceSet::GetBufferHandle";
constexpr std::string_view kMapBufferHandle = "ClientVirtualDeviceSet::MapBufferHandle";
constexpr std::string_view kSignalAbort = "ClientVirtualDeviceSet::SignalAbort";
constexpr std::string_view kClose = "ClientVirtualDeviceSet::Close";

Status NullArgument(std::string_view what) {
  return Error(Code::kInvalidArgument, "{} is null", what);
}

std::string Describe(const VDConfig& config) {
  return fmt::format(
      "the server has configured the set: deviceCount={} features={:#x} blockSize={} alignment={} "
      "maxTransferSize={} bufferAreaSize={}",
      config.deviceCount, config.features, config.blockSize, config.alignment,
      config.maxTransferSize, config.bufferAreaSize);
}

}  // namespace

// What a ClientVirtualDeviceSet points to: the session of now, if there is one.
//
// Threads: any. Sessions are used outside of the lock, so that SignalAbort and Close reach one that
// another thread waits on.
struct CVDS {
 public:
  CVDS() : settings_(Settings::FromEnvironment()) {}
  ~CVDS();

  Status Create(const char* name, const VDConfig* config);
  Status OpenInSecondary(const char* name);
  Status GetConfiguration(time_t timeout, VDConfig* config);
  Status OpenDevice(const char* name, ClientVirtualDevice** device);
  Status GetBufferHandle(const std::uint8_t* buffer, unsigned int* handle);
  Status MapBufferHandle(int handle, std::uint8_t** buffer);
  Status SignalAbort();
  Status Close();

  // The VD_E_ value of how `call` ended, with a line if it is a failure.
  int Conclude(std::string_view call, const Status& status) const;

 private:
  using Opener = std::function<Result<std::unique_ptr<ClientDeviceSet>>(const std::string& path)>;
  // While Begin works outside of the lock, nobody else may begin.
  class Reservation {
   public:
    explicit Reservation(CVDS& owner) : owner_(owner) {}
    ~Reservation() {
      const MutexLock lock(owner_.mutex_);
      owner_.beginning_ = false;
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

   private:
    CVDS& owner_;
  };

  // Makes a session, if there is none yet.
  Status Begin(std::string_view call, const char* name, const Opener& open);
  // Precedes a Reservation. Reads the environment again.
  Result<Settings> Reserve(const char* name);
  Result<SessionPointer> Session() const;
  void Tell(std::string_view call, std::string_view device, std::string_view what) const;
  Diagnostics diagnostics() const {
    const MutexLock lock(mutex_);
    return Diagnostics(settings_);
  }

  mutable capstan::Mutex mutex_;
  Settings settings_ CAPSTAN_GUARDED_BY(mutex_);
  std::string name_ CAPSTAN_GUARDED_BY(mutex_);  // of the set of now or before, for diagnostics
  SessionPointer session_ CAPSTAN_GUARDED_BY(mutex_);
  bool beginning_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

CVDS::~CVDS() {
  const MutexLock lock(mutex_);
  if (session_ && session_->in_other_process()) {
    // The parent's: its destructor would end the parent's set and wait for a thread that is not
    // here. Kept for as long as this process lives.
    [[maybe_unused]] const auto* kept = new SessionPointer(std::move(session_));
  } else if (session_) {
    [[maybe_unused]] const Status closed = session_->Close();
  }
}

Result<Settings> CVDS::Reserve(const char* name) {
  const MutexLock lock(mutex_);
  if (session_ || beginning_) {
    return Error(Code::kFailedPrecondition, "this object has a device set already")
        .WithHint("close it first, or use another ClientVirtualDeviceSet");
  }
  Settings settings = Settings::FromEnvironment();
  settings_ = settings;
  name_ = name;
  beginning_ = true;
  return settings;
}

Status CVDS::Begin(std::string_view call, const char* name, const Opener& open) {
  CAPSTAN_ASSIGN_OR_RETURN(const Settings settings, Reserve(name));
  const Reservation reservation(*this);
  if (!settings.complaint.empty()) {
    Tell(call, name, settings.complaint);
  }
  const std::string& path = settings.rendezvous_path;
  CAPSTAN_ASSIGN_OR_RETURN(SessionPointer session,
                           SetSession::Open(name, settings, [&] { return open(path); }));
  Tell(call, name, fmt::format("connected to the server at '{}'", path));
  const MutexLock lock(mutex_);
  session_ = std::move(session);
  return OkStatus();
}

Status CVDS::Create(const char* name, const VDConfig* config) {
  if (name == nullptr || config == nullptr) {
    return NullArgument(name == nullptr ? "the name" : "the configuration");
  }
  const auto wishes = std::bit_cast<capstan::vdi::DeviceSetConfig>(*config);
  return Begin(kCreate, name, [&](const std::string& path) {
    return ClientDeviceSet::Create(path, name, wishes);
  });
}

Status CVDS::OpenInSecondary(const char* name) {
  if (name == nullptr) {
    return NullArgument("the name");
  }
  return Begin(kOpenInSecondary, name, [&](const std::string& path) {
    return ClientDeviceSet::OpenInSecondary(path, name);
  });
}

Status CVDS::GetConfiguration(time_t timeout, VDConfig* config) {
  if (config == nullptr) {
    return NullArgument("the configuration");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const SessionPointer session, Session());
  CAPSTAN_ASSIGN_OR_RETURN(
      *config, session->GetConfiguration(ConfigurationTimeoutMs(timeout, session->timeout_unit())));
  Tell(kGetConfiguration, session->name(), Describe(*config));
  return OkStatus();
}

Status CVDS::OpenDevice(const char* name, ClientVirtualDevice** device) {
  if (device == nullptr) {
    return NullArgument("the place for the device");
  }
  *device = nullptr;
  if (name == nullptr) {
    return NullArgument("the name");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const SessionPointer session, Session());
  CAPSTAN_ASSIGN_OR_RETURN(*device, session->OpenDevice(name));
  Tell(kOpenDevice, name, "the device is open");
  return OkStatus();
}

Status CVDS::GetBufferHandle(const std::uint8_t* buffer, unsigned int* handle) {
  if (handle == nullptr) {
    return NullArgument("the place for the handle");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const SessionPointer session, Session());
  CAPSTAN_ASSIGN_OR_RETURN(*handle, session->GetBufferHandle(buffer));
  return OkStatus();
}

Status CVDS::MapBufferHandle(int handle, std::uint8_t** buffer) {
  if (buffer == nullptr) {
    return NullArgument("the place for the buffer");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const SessionPointer session, Session());
  CAPSTAN_ASSIGN_OR_RETURN(*buffer, session->MapBufferHandle(handle));
  return OkStatus();
}

Status CVDS::SignalAbort() {
  CAPSTAN_ASSIGN_OR_RETURN(const SessionPointer session, Session());
  Tell(kSignalAbort, session->name(), "the program aborts the set");
  return session->SignalAbort();
}

Status CVDS::Close() {
  CAPSTAN_ASSIGN_OR_RETURN(SessionPointer session, Session());
  {
    const MutexLock lock(mutex_);
    if (session_ != session) {
      return Error(Code::kFailedPrecondition, "the device set is closed already");
    }
    session_.reset();
  }
  CAPSTAN_RETURN_IF_ERROR(session->Close());
  Tell(kClose, session->name(), "the set is closed");
  return OkStatus();
}

Result<SessionPointer> CVDS::Session() const {
  const MutexLock lock(mutex_);
  if (!session_) {
    return Error(Code::kFailedPrecondition, "this object has no device set")
        .WithHint("call Create or OpenInSecondary first, and look at what they return");
  }
  if (session_->in_other_process()) {
    return Error(Code::kFailedPrecondition,
                 "device set '{}' belongs to the process before the fork", session_->name())
        .WithHint("use OpenInSecondary, with an object of its own, to join it from here");
  }
  return session_;
}

int CVDS::Conclude(std::string_view call, const Status& status) const {
  if (status.ok()) {
    return NOERROR;
  }
  if (call == kPoll && status.code() == Code::kDeadlineExceeded) {
    return VD_E_TIMEOUT;  // not worth a line
  }
  std::string name;
  {
    const MutexLock lock(mutex_);
    name = name_;
  }
  return diagnostics().Conclude(call, name, status);
}

void CVDS::Tell(std::string_view call, std::string_view device, std::string_view what) const {
  diagnostics().Write({.location = call,
                       .description = what,
                       .vd_error = NOERROR,
                       .device = device,
                       .next_step = {}});
}

namespace {

// Runs one of CVDS's calls, and concludes it under the name `call`.
template <typename Body>
int Run(CVDS* cvds, std::string_view call, const Body& body) {
  // Without memory for a CVDS, there is none.
  return cvds == nullptr ? VD_E_MEMORY : Guarded([&] { return cvds->Conclude(call, body(*cvds)); });
}

}  // namespace

ClientVirtualDeviceSet::ClientVirtualDeviceSet() : cvds(nullptr) {
  Guarded([this] {
    cvds = new CVDS;
    return NOERROR;
  });
}

ClientVirtualDeviceSet::~ClientVirtualDeviceSet() {
  Guarded([this] {
    delete cvds;
    return NOERROR;
  });
}

int ClientVirtualDeviceSet::Create(char* name, VDConfig* config) {
  return Run(cvds, kCreate, [&](CVDS& set) { return set.Create(name, config); });
}

int ClientVirtualDeviceSet::GetConfiguration(time_t timeout, VDConfig* config) {
  const auto call = [&](CVDS& set) { return set.GetConfiguration(timeout, config); };
  return timeout == 0 ? Run(cvds, kPoll, call) : Run(cvds, kGetConfiguration, call);
}

int ClientVirtualDeviceSet::OpenDevice(char* name, ClientVirtualDevice** device) {
  return Run(cvds, kOpenDevice, [&](CVDS& set) { return set.OpenDevice(name, device); });
}

int ClientVirtualDeviceSet::Close() {
  return Run(cvds, kClose, [](CVDS& set) { return set.Close(); });
}

int ClientVirtualDeviceSet::SignalAbort() {
  return Run(cvds, kSignalAbort, [](CVDS& set) { return set.SignalAbort(); });
}

int ClientVirtualDeviceSet::OpenInSecondary(char* name) {
  return Run(cvds, kOpenInSecondary, [&](CVDS& set) { return set.OpenInSecondary(name); });
}

int ClientVirtualDeviceSet::GetBufferHandle(uint8_t* buffer, unsigned int* handle) {
  return Run(cvds, kGetBufferHandle,
             [&](CVDS& set) { return set.GetBufferHandle(buffer, handle); });
}

int ClientVirtualDeviceSet::MapBufferHandle(int handle, uint8_t** buffer) {
  return Run(cvds, kMapBufferHandle,
             [&](CVDS& set) { return set.MapBufferHandle(handle, buffer); });
}

void ClientVirtualDeviceSet::RegisterDeviceClosed() {}
