// ScriptedLink: an agent as the directory sees it, played by the test.
//
//   auto link = std::make_shared<ScriptedLink>();
//   const AgentId id = *directory.Attach(DiskHello(), link);
//   link->OnOrder([&](std::uint64_t order_id, const Order& order) { ... });
//
// The handler runs on the thread that gives the order, as soon as it is given. Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "server/coordinator/agent_link.h"
#include "vdi/base/clock.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

class ScriptedLink final : public coordinator::AgentLink {
 public:
  using Handler = std::function<void(std::uint64_t order_id, const coordinator::Order& order)>;

  // Without a handler orders are taken and never answered.
  void OnOrder(Handler handler) {
    MutexLock lock(mutex_);
    handler_ = std::move(handler);
  }
  // From now on the wire is broken, and nobody has noticed.
  void Break() {
    MutexLock lock(mutex_);
    broken_ = true;
  }

  bool Welcome(std::chrono::milliseconds lease) override {
    MutexLock lock(mutex_);
    lease_ = lease;
    return !broken_;
  }
  bool Send(std::uint64_t order_id, const coordinator::Order& order) override {
    Handler handler;
    {
      MutexLock lock(mutex_);
      if (broken_) {
        return false;
      }
      orders_.emplace_back(order_id, order);
      handler = handler_;
      changed_.NotifyAll();
    }
    if (handler) {
      handler(order_id, order);
    }
    return true;
  }
  void Close() override {
    MutexLock lock(mutex_);
    closed_ = true;
    changed_.NotifyAll();
  }

  std::chrono::milliseconds lease() const {
    MutexLock lock(mutex_);
    return lease_;
  }
  // False if that takes more than ten seconds.
  bool WaitUntilClosed() {
    return WaitFor([this]() CAPSTAN_REQUIRES(mutex_) { return closed_; });
  }
  bool WaitForOrders(std::size_t count) {
    return WaitFor([this, count]() CAPSTAN_REQUIRES(mutex_) { return orders_.size() >= count; });
  }
  std::vector<std::pair<std::uint64_t, coordinator::Order>> orders() const {
    MutexLock lock(mutex_);
    return orders_;
  }

 private:
  bool WaitFor(const std::function<bool()>& condition) {
    const Deadline deadline = Deadline::After(std::chrono::seconds(10));
    MutexLock lock(mutex_);
    while (!condition()) {
      if (!changed_.WaitUntil(mutex_, deadline.when()) && !condition()) {
        return false;
      }
    }
    return true;
  }

  mutable Mutex mutex_;
  CondVar changed_;
  Handler handler_ CAPSTAN_GUARDED_BY(mutex_);
  bool broken_ CAPSTAN_GUARDED_BY(mutex_) = false;
  bool closed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::chrono::milliseconds lease_ CAPSTAN_GUARDED_BY(mutex_){0};
  std::vector<std::pair<std::uint64_t, coordinator::Order>> orders_ CAPSTAN_GUARDED_BY(mutex_);
};

// What the disk agent of this release says.
inline coordinator::AgentHello DiskHello() {
  return {.protocol_version = 1,
          .name = "disk",
          .agent_version = "0.1.0",
          .pid = 4711,
          .plugin_name = "disk",
          .plugin_version = "0.1.0",
          .device_class = "DISK",
          .capabilities = coordinator::capability::kRead | coordinator::capability::kWrite |
                          coordinator::capability::kRecover | coordinator::capability::kAppend};
}

}  // namespace capstan::test
