// WalBuilder: segments of PostgreSQL's log, made record by record, for tests of what reads them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "server/writers/postgres/wal_format.h"

namespace capstan::test {

class WalBuilder {
 public:
  static constexpr std::uint32_t kSegmentSize = 1U << 20;
  static constexpr std::uint64_t kSystemIdentifier = 0x1234'5678'9ABC'DEF0;

  explicit WalBuilder(std::uint64_t begin = kSegmentSize, std::uint32_t timeline = 1)
      : begin_(begin), position_(begin), timeline_(timeline) {}

  // Appends a record with these bytes behind its header; its LSN.
  writers::Lsn Add(std::uint8_t manager, std::uint8_t info, std::span<const std::byte> data) {
    if (position_ % writers::kWalPageSize == 0) {
      StartPage(0);
    }
    const writers::Lsn start{position_};
    std::vector<std::byte> record(writers::kWalRecordHeaderSize);
    const auto put = [&record](std::size_t offset, auto value) {
      std::memcpy(record.data() + offset, &value, sizeof(value));
    };
    put(0, static_cast<std::uint32_t>(record.size() + data.size()));
    put(4, std::uint32_t{7});
    put(8, previous_);
    put(16, info);
    put(17, manager);
    std::uint32_t crc = writers::WalCrc32c(0, data);
    crc = writers::WalCrc32c(crc, std::span(record).first(20));
    put(20, crc);
    record.insert(record.end(), data.begin(), data.end());
    Append(record);
    position_ = (position_ + 7) / 8 * 8;
    bytes_.resize(position_ - begin_);
    previous_ = start.value;
    return start;
  }

  writers::Lsn AddCommit(std::int64_t unix_us) { return Add(1, 0, TimedData(unix_us, {})); }
  writers::Lsn AddRestorePoint(std::int64_t unix_us, const std::string& name) {
    std::vector<char> padded(64);
    std::ranges::copy(name, padded.begin());
    return Add(0, 0x70, TimedData(unix_us, padded));
  }
  writers::Lsn AddFiller(std::size_t size) {
    return Add(10, 0, std::vector<std::byte>(size, std::byte{0x5A}));
  }
  // The rest of the segment is left out.
  writers::Lsn AddSwitch() {
    const writers::Lsn start = Add(0, 0x40, {});
    position_ = (position_ + kSegmentSize - 1) / kSegmentSize * kSegmentSize;
    bytes_.resize(position_ - begin_);
    return start;
  }

  writers::Lsn end() const { return {position_}; }
  std::vector<std::byte>& bytes() { return bytes_; }

  // As segment files, the last one filled up with zeros.
  void Write(const std::string& directory) const {
    for (std::size_t offset = 0; offset < bytes_.size(); offset += kSegmentSize) {
      std::vector<std::byte> segment(kSegmentSize);
      std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset),
                  std::min<std::size_t>(kSegmentSize, bytes_.size() - offset), segment.begin());
      std::ofstream file(
          directory + "/" + writers::WalSegmentName(timeline_, {begin_ + offset}, kSegmentSize),
          std::ios::binary);
      file.write(reinterpret_cast<const char*>(segment.data()), kSegmentSize);
    }
  }

 private:
  static std::vector<std::byte> TimedData(std::int64_t unix_us, std::span<const char> rest) {
    std::vector<std::byte> data(2 + sizeof(unix_us) + rest.size());
    data[0] = std::byte{255};
    data[1] = static_cast<std::byte>(data.size() - 2);
    const std::int64_t time = unix_us - writers::kPostgresEpochUnixUs;
    std::memcpy(data.data() + 2, &time, sizeof(time));
    std::ranges::copy(std::as_bytes(rest), data.begin() + 2 + sizeof(time));
    return data;
  }

  void StartPage(std::uint32_t remaining) {
    const bool first = position_ % kSegmentSize == 0;
    std::vector<std::byte> header(first ? writers::kWalLongPageHeaderSize
                                        : writers::kWalPageHeaderSize);
    const auto put = [&header](std::size_t offset, auto value) {
      std::memcpy(header.data() + offset, &value, sizeof(value));
    };
    put(0, std::uint16_t{0xD110});
    put(2, static_cast<std::uint16_t>((remaining > 0 ? 1 : 0) | (first ? 2 : 0)));
    put(4, timeline_);
    put(8, position_);
    put(16, remaining);
    if (first) {
      put(24, kSystemIdentifier);
      put(32, kSegmentSize);
      put(36, writers::kWalPageSize);
    }
    bytes_.insert(bytes_.end(), header.begin(), header.end());
    position_ += header.size();
  }

  void Append(std::span<const std::byte> record) {
    while (!record.empty()) {
      if (position_ % writers::kWalPageSize == 0) {
        StartPage(static_cast<std::uint32_t>(record.size()));
      }
      const std::size_t size = std::min<std::size_t>(
          record.size(), writers::kWalPageSize - position_ % writers::kWalPageSize);
      bytes_.insert(bytes_.end(), record.begin(),
                    record.begin() + static_cast<std::ptrdiff_t>(size));
      position_ += size;
      record = record.subspan(size);
    }
  }

  const std::uint64_t begin_;
  std::uint64_t position_;
  const std::uint32_t timeline_;
  std::uint64_t previous_ = 0;
  std::vector<std::byte> bytes_;
};

}  // namespace capstan::test
