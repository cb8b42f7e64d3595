// Standard output and standard error, and the block at the end of a terminal that is redrawn in
// place. Knows escape sequences so that nobody else does.
//
// Threads: one.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "tools/capstan/progress_view.h"

namespace capstan::cli {

class Console {
 public:
  // Borrows both streams.
  Console(std::FILE* out, std::FILE* error);

  bool out_is_terminal() const { return out_is_terminal_; }
  bool error_is_terminal() const { return error_is_terminal_; }
  // Of the terminal behind standard error, now: windows change.
  ViewSize size() const;

  // Texts end with \n and appear above the live block, at once.
  void Out(std::string_view text);
  void Error(std::string_view text);

  // Replaces the live block on standard error. REQUIRES: error_is_terminal(), lines that fit
  // size().
  void DrawLive(std::vector<std::string> lines);
  // The block stays as it is and becomes ordinary text.
  void KeepLive();

  // False if anything could not be written to standard output.
  bool Flush();

 private:
  void Write(std::FILE* stream, std::string_view text);

  std::FILE* const out_;
  std::FILE* const error_;
  const bool out_is_terminal_;
  const bool error_is_terminal_;
  std::vector<std::string> live_;
};

}  // namespace capstan::cli
