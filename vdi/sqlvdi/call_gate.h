// CallGate: lets calls in until it is shut, and waits for those inside.
//
// What it guards may be destroyed once AwaitEmpty has returned. Entering and leaving cost one
// atomic operation each, because every command passes twice. Threads: any; Shut and AwaitEmpty by
// one.
#pragma once

#include <atomic>
#include <cstdint>

namespace capstan::sqlvdi {

class CallGate {
 public:
  // One call inside, if the gate let it in.
  class Pass {
   public:
    explicit Pass(CallGate& gate) : gate_(gate), inside_(gate.Enter()) {}
    ~Pass() {
      if (inside_) {
        gate_.Leave();
      }
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    explicit operator bool() const { return inside_; }

   private:
    CallGate& gate_;
    const bool inside_;
  };

  // From now on nobody gets in.
  void Shut() { state_.fetch_or(kShut, std::memory_order_acq_rel); }
  // REQUIRES: Shut, and something that makes the calls inside return: there is no deadline.
  void AwaitEmpty() {
    // SYNC(gate), acquire half: what the calls inside did is done.
    for (std::uint32_t state = state_.load(std::memory_order_acquire); state != kShut;
         state = state_.load(std::memory_order_acquire)) {
      state_.wait(state, std::memory_order_acquire);
    }
  }

 private:
  static constexpr std::uint32_t kShut = 1U << 31;  // below it, how many are inside

  bool Enter() {
    if ((state_.fetch_add(1, std::memory_order_acquire) & kShut) == 0) {
      return true;
    }
    Leave();
    return false;
  }
  void Leave() {
    // SYNC(gate), release half.
    if (state_.fetch_sub(1, std::memory_order_release) == (kShut | 1)) {
      state_.notify_all();
    }
  }

  std::atomic<std::uint32_t> state_{0};
};

}  // namespace capstan::sqlvdi
