// System calls on a device node that answer what a test tells them, in its order.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <scsi/sg.h>
#include <sys/mtio.h>

#include "plugins/tape/scsi/device_calls.h"

namespace capstan::test {

// A drive behind the st driver: what it will say, and what it was told.
struct ScriptedNode {
  std::deque<int> opens;                   // behind those: a descriptor
  std::deque<long> reads;                  // must be enough
  std::deque<long> writes;                 // behind those: all of the block
  std::deque<int> operations;              // MTIOCTOP but for options; behind those: 0
  std::deque<long> states;                 // mt_gstat; the last one stays
  std::deque<std::pair<int, int>> places;  // mt_fileno, mt_blkno; the last one stays
  std::function<int(sg_io_hdr*)> generic = [](sg_io_hdr*) { return -EPERM; };
  long position = 0;  // MTIOCPOS

  std::vector<std::pair<short, int>> operated;
  int open_count = 0;
  int closed_count = 0;
};

class ScriptedCalls final : public tape::DeviceCalls {
 public:
  explicit ScriptedCalls(ScriptedNode* node) : node_(node) {}

  int Open(const std::string& /*path*/, int /*flags*/) override {
    ++node_->open_count;
    return Take(&node_->opens, 7);
  }
  void Close(int /*descriptor*/) override { ++node_->closed_count; }
  long Read(int descriptor, std::span<std::byte> buffer) override {
    EXPECT_EQ(descriptor, 7);
    EXPECT_FALSE(node_->reads.empty());
    const long size = Take(&node_->reads, -long{EIO});
    EXPECT_LE(size, static_cast<long>(buffer.size()));
    return size;
  }
  long Write(int /*descriptor*/, std::span<const std::byte> block) override {
    return Take(&node_->writes, static_cast<long>(block.size()));
  }
  int Control(int descriptor, unsigned long request, void* argument) override {
    if (descriptor != 7) {
      return -EBADF;
    }
    if (request == SG_IO) {
      return node_->generic(static_cast<sg_io_hdr*>(argument));
    }
    if (request == MTIOCGET) {
      auto* const state = static_cast<mtget*>(argument);
      *state = {};
      state->mt_gstat = Stay(&node_->states, GMT_ONLINE(~0L));
      const std::pair<int, int> place = Stay(&node_->places, std::pair(0, 0));
      state->mt_fileno = place.first;
      state->mt_blkno = place.second;
      return 0;
    }
    if (request == MTIOCPOS) {
      static_cast<mtpos*>(argument)->mt_blkno = node_->position;
      return 0;
    }
    const auto& operation = *static_cast<const mtop*>(argument);
    if (operation.mt_op == MTSETDRVBUFFER) {
      return -EPERM;  // only root may
    }
    node_->operated.emplace_back(operation.mt_op, operation.mt_count);
    return Take(&node_->operations, 0);
  }

 private:
  template <typename T>
  static T Take(std::deque<T>* values, T otherwise) {
    if (values->empty()) {
      return otherwise;
    }
    const T value = values->front();
    values->pop_front();
    return value;
  }
  template <typename T>
  static T Stay(std::deque<T>* values, T otherwise) {
    if (values->size() > 1) {
      return Take(values, otherwise);
    }
    return values->empty() ? otherwise : values->front();
  }

  ScriptedNode* const node_;
};

}  // namespace capstan::test
