// What a batch produces, as plain values: what RequesterClient hands out and everything else
// prints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace capstan::cli {

// A message in SQL Server's sense.
struct ServerMessage {
  int number = 0;
  int severity = 0;  // 0..10 informs, 11 and more is an error
  int state = 0;
  int line = 1;  // in the batch, from 1
  std::string text;
  std::string hint;         // may be empty
  std::string server_name;  // empty if the server did not say

  bool is_error() const { return severity > 10; }
};

struct Column {
  std::string name;
  std::string type;  // as T-SQL writes it, for example "nvarchar(128)"
};

using Row = std::vector<std::optional<std::string>>;  // nullopt = NULL

struct ResultSet {
  std::vector<Column> columns;
  std::vector<Row> rows;  // each as long as `columns`
};

struct DeviceProgress {
  std::string name;
  std::string agent;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_per_second_now = 0;
  std::uint64_t bytes_per_second_mean = 0;
  std::uint32_t in_flight = 0;
  std::string state;
};

struct Progress {
  std::int64_t job_id = 0;
  std::string phase;
  double percent = 0;  // 0..100
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  // 0 = unknown
  std::uint64_t elapsed_ms = 0;
  std::vector<DeviceProgress> devices;
};

// Takes what a batch produces, in order. Called on the thread that runs the batch.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  virtual void OnMessage(const ServerMessage& message) = 0;
  // A result set begins; its rows follow until the next call that is not OnRow.
  virtual void OnResultSet(std::vector<Column> columns) = 0;
  // As many values as the result set has columns.
  virtual void OnRow(Row row) = 0;
  virtual void OnProgress(const Progress& progress) = 0;

 protected:
  ResponseSink() = default;
  ResponseSink(const ResponseSink&) = default;
  ResponseSink& operator=(const ResponseSink&) = default;
};

}  // namespace capstan::cli
