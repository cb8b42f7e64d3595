// HonestDevice: a plugin that keeps media as files and all promises of capstan/plugin.h, so that
// whatever plugin-check finds in a liar is the lie. A liar overrides one function and says which:
//
//   class Liar final : public HonestDevice {
//     int Flush() override { return 0; }
//   };
//   LIAR(Liar)
//
// A target is a path, with or without a scheme in front of it ("x:///folder/medium").
//
// Threads: as plugin.h has it; what is protected runs on the device's own thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "capstan/plugin.h"

namespace capstan::test {

class HonestDevice {
 public:
  virtual ~HonestDevice();  // not before Close

  int Open(const capstan_open_params& params, capstan_error* error);
  // On the agent's thread.
  virtual int Submit(capstan_request* request, capstan_error* error);
  virtual int Close(std::uint32_t outcome, capstan_error* error);

  static int Stat(const char* target, capstan_stat_result* result, capstan_error* error);
  static int Remove(const char* target, capstan_error* error);
  static int Recover(const char* target, const char* token, std::uint32_t action,
                     capstan_error* error);

 protected:
  // 0, or an errno.
  virtual int Write(const capstan_request& request);
  virtual int Flush();
  virtual int Complete();
  virtual void Finish(capstan_request* request);  // calls its complete
  virtual int Keep() { return 0; }                // before close(KEEP)
  virtual int OpenFlags(bool resumes) const;      // of the file that takes the bytes
  virtual bool Locks(bool /*resumes*/) const { return true; }
  virtual int Cut();  // of what was gone on with: to where it ends

  int WriteAt(const void* bytes, std::size_t size, std::int64_t position);
  int fd() const { return fd_; }

 private:
  int Begin(const capstan_open_params& params);
  int NoteEnd() const;
  int Read(capstan_request* request);
  void Carry(capstan_request* request);
  void Work();

  std::string target_;
  std::string token_;
  std::uint32_t mode_ = 0;
  int fd_ = -1;
  int lock_ = -1;  // the folder: one writer in it at a time, which is more than is asked
  bool complete_ = false;
  bool resumed_ = false;
  std::int64_t end_ = 0;  // of the highest write

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<capstan_request*> requests_;
  bool stopping_ = false;
  bool giving_up_ = false;
  std::thread worker_;
};

using DeviceMaker = std::unique_ptr<HonestDevice> (*)();
const capstan_plugin* PluginOf(DeviceMaker make);

}  // namespace capstan::test

#define LIAR(Class)                                                                           \
  extern "C" __attribute__((visibility("default"))) const capstan_plugin* capstan_plugin_get( \
      uint32_t) {                                                                             \
    return capstan::test::PluginOf(+[]() -> std::unique_ptr<capstan::test::HonestDevice> {    \
      return std::make_unique<Class>();                                                       \
    });                                                                                       \
  }
