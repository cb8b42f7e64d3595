// Rows as sqlcmd lays them out: every column as wide as its type can be, so that a row can be
// printed before the next one is known. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/client/response.h"

namespace capstan::sqlcmd {

struct LayoutOptions {
  int header_every = 0;         // -h: rows between headings; 0 = once, -1 = never
  std::string separator = " ";  // -s
  int screen_width = 0;         // -w: longer lines are broken; 0 = never
  bool trim = false;            // -W: no trailing spaces
  int variable_width = 256;     // -y: of (max) types; 0 = as long as the value, and no headings
  int fixed_width = 0;          // -Y: most of char(n) and the like; 0 = n
};

class ResultLayout {
 public:
  // Borrows the options.
  ResultLayout(const LayoutOptions& options, const std::vector<cli::Column>& columns);

  // The names and a line of dashes; empty if there are to be no headings.
  std::string Header() const;
  // One row, with what stands above it: nothing, or the headings again. REQUIRES: as many values as
  // there are columns.
  std::string Line(const cli::Row& row);
  // The blank line and the count that end the result set.
  std::string Footer() const;

 private:
  struct Column {
    std::string name;
    int width = 0;         // cells; 0 = as long as the value
    bool may_cut = false;  // values of texts are cut at the width, numbers never
    bool at_right = false;
  };

  Column Measure(const cli::Column& column) const;
  std::string Cell(const Column& column, const std::optional<std::string>& value) const;
  std::string Join(const std::vector<std::string>& cells) const;

  const LayoutOptions options_;
  std::vector<Column> columns_;
  std::size_t row_count_ = 0;
};

}  // namespace capstan::sqlcmd
