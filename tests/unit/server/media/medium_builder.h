// Small media for the tests of server/media: composed with FamilyWriter, and read back into plain
// values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/media/family_reader.h"
#include "server/media/family_writer.h"
#include "tests/support/status_matchers.h"

namespace capstan::media {

inline Guid TestGuid(std::uint8_t first) {
  Guid guid;
  for (std::size_t i = 0; i < guid.bytes.size(); ++i) {
    guid.bytes[i] = static_cast<std::uint8_t>(first + i);
  }
  return guid;
}

inline MediaHeader TestHeader() {
  return {.media_set_id = TestGuid(0x10),
          .media_family_id = 0x209EB181,
          .name = "Nightly",
          .description = "Bänder im Schrank",
          .date_unix_s = 1785600000};
}

inline BackupSet TestSet(std::uint32_t transfer_size) {
  BackupSet set;
  set.backup_set_guid = TestGuid(0x80);
  set.name = "sales full";
  set.description = "before the upgrade";
  set.has_checksums = true;
  set.user_name = "backup";
  set.server_name = "db1";
  set.machine_name = "db1.example";
  set.database_name = "sales";
  set.writer = "sqlite";
  set.database_version = "3.40.1";
  set.recovery_model = "FULL";
  set.first_lsn = 100;
  set.last_lsn = 120;
  set.checkpoint_lsn = 100;
  set.database_created_unix_s = 1700000000;
  set.start_unix_s = 1785600001;
  set.expiration_unix_s = 1790000000;
  set.time_zone_quarter_hours = 8;
  set.transfer_size = transfer_size;
  set.files = {{.file_id = 1,
                .logical_name = "sales",
                .physical_name = "/srv/db/sales.db",
                .size_bytes = 200000,
                .page_size = 4096,
                .unique_id = TestGuid(0x30)},
               {.file_id = 2,
                .logical_name = "sales_log",
                .physical_name = "/srv/db/sales.db-wal",
                .type = 'L',
                .size_bytes = 5000,
                .unique_id = TestGuid(0x50)}};
  return set;
}

inline BackupSet FinalOf(BackupSet set, std::uint64_t payload_bytes) {
  set.finish_unix_s = set.start_unix_s + 7;
  set.backup_size_bytes = payload_bytes;
  set.files[0].backup_size_bytes = payload_bytes;
  return set;
}

// A frame's place in the database; its bytes follow from that.
struct Piece {
  std::uint32_t file_index = 0;
  std::uint64_t file_offset = 0;
  std::uint32_t length = 0;
  std::uint64_t sequence = 0;
};

inline std::vector<std::byte> PayloadOf(const Piece& piece) {
  std::vector<std::byte> payload(piece.length);
  std::uint64_t state = piece.file_offset * 31 + piece.file_index + 1;
  for (std::byte& byte : payload) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(state >> 56);
  }
  return payload;
}

struct Medium {
  std::vector<std::byte> bytes;
  std::vector<FrameExtent> extents;
  std::vector<std::uint64_t> offsets;  // of the frames
  std::uint64_t data_offset = 0;
  std::uint64_t trailer_offset = 0;
  FamilySummary summary;
};

// The bytes of a part without hard filemarks.
inline std::vector<std::byte> BytesOf(MediumPart& part, std::size_t fill_size = 4096) {
  std::vector<std::byte> bytes;
  std::vector<std::byte> target(fill_size);
  while (const std::size_t size = part.Fill(target)) {
    bytes.insert(bytes.end(), target.begin(), target.begin() + static_cast<std::ptrdiff_t>(size));
  }
  EXPECT_EQ(bytes.size(), part.size_bytes());
  EXPECT_EQ(bytes.size() % 512, 0U);
  return bytes;
}

// Writes the frames of a family and leaves it open, so that several can be made in parallel.
class MediumBuilder {
 public:
  MediumBuilder(const MediaHeader& header, const BackupSet& set)
      : MediumBuilder({.header = header, .set = set, .form = {}, .append = {}}) {}
  // `bytes`: what a medium that is appended to holds so far, up to where the set goes.
  explicit MediumBuilder(const FamilyOptions& options, std::vector<std::byte> bytes = {})
      : set_(options.set) {
    auto writer = FamilyWriter::Create(options);
    EXPECT_THAT(writer, test::IsOk());
    writer_ = std::move(writer).value();
    medium_.bytes = std::move(bytes);
    EXPECT_EQ(writer_->preamble_offset(), medium_.bytes.size());
    const std::vector<std::byte> preamble = BytesOf(*writer_->Preamble());
    medium_.bytes.insert(medium_.bytes.end(), preamble.begin(), preamble.end());
    medium_.data_offset = medium_.bytes.size();
  }

  FrameGeometry geometry() const { return writer_->geometry(); }
  FamilySummary summary() const { return writer_->summary(); }

  void Add(const Piece& piece) {
    // What was in the buffer before must not show.
    std::vector<std::byte> buffer(set_.transfer_size, std::byte{0xEE});
    const std::vector<std::byte> payload = PayloadOf(piece);
    std::copy(payload.begin(), payload.end(), buffer.begin() + geometry().payload_offset);
    const FrameExtent extent{.file_index = piece.file_index,
                             .file_offset = piece.file_offset,
                             .length = piece.length,
                             .sequence = piece.sequence,
                             .crc32c = Crc32c(0, payload)};
    medium_.offsets.push_back(writer_->SealFrame(buffer, extent));
    EXPECT_EQ(medium_.offsets.back(), medium_.bytes.size());
    medium_.extents.push_back(extent);
    medium_.bytes.insert(medium_.bytes.end(), buffer.begin(), buffer.end());
  }

  Medium Finish(const BackupSet& final_set, std::vector<FamilySummary> families,
                std::size_t fill_size = 4096) {
    medium_.summary = writer_->summary();
    medium_.trailer_offset = writer_->trailer_offset();
    EXPECT_EQ(medium_.trailer_offset, medium_.bytes.size());
    auto trailer = writer_->Trailer(final_set, families);
    EXPECT_THAT(trailer, test::IsOk());
    const std::vector<std::byte> bytes = BytesOf(**trailer, fill_size);
    medium_.bytes.insert(medium_.bytes.end(), bytes.begin(), bytes.end());
    return std::move(medium_);
  }
  Medium Finish() {
    const FamilySummary own = writer_->summary();
    return Finish(FinalOf(set_, own.payload_bytes), {own});
  }

 private:
  BackupSet set_;
  std::unique_ptr<FamilyWriter> writer_;
  Medium medium_;
};

// A medium of one family with two frames of one file and one of another.
inline Medium SmallMedium() {
  MediumBuilder builder(TestHeader(), TestSet(65536));
  const std::uint32_t capacity = builder.geometry().payload_capacity;
  builder.Add({.file_index = 0, .file_offset = 0, .length = capacity, .sequence = 0});
  builder.Add({.file_index = 0, .file_offset = capacity, .length = 20480, .sequence = 1});
  builder.Add({.file_index = 1, .file_offset = 0, .length = 4151, .sequence = 2});
  return builder.Finish();
}

// Keeps what it is told.
class RecordingVisitor final : public FamilyVisitor {
 public:
  struct Frame {
    FrameExtent extent;
    std::uint64_t medium_offset;
    std::vector<std::byte> payload;
  };

  // `verify` has every frame's payload checked; `chunk`, if set, is the chunk being consumed.
  explicit RecordingVisitor(bool verify = true) : verify_(verify) {}

  Status OnMediaHeader(const MediaHeader& header) override {
    headers.push_back(header);
    return OkStatus();
  }
  Status OnSetBegin(const BackupSet& set) override {
    begins.push_back(set);
    return OkStatus();
  }
  Status OnFrame(const FrameView& frame) override {
    const std::byte* start = frame.payload.data();
    if (start < chunk.data() || start >= chunk.data() + chunk.size()) {
      ++copied_frames;
    }
    if (keep_payload) {
      frames.push_back({frame.extent, frame.medium_offset,
                        std::vector<std::byte>(frame.payload.begin(), frame.payload.end())});
    }
    return verify_ ? VerifyFrame(frame, "dev") : OkStatus();
  }
  Status OnVoidFrame(const FrameView& frame) override {
    void_frames.push_back({frame.extent, frame.medium_offset, {}});
    return verify_ ? VerifyFrame(frame, "dev") : OkStatus();
  }
  Authenticator* authenticator() override { return proves_with; }
  Status OnSetEnd(const SetTrailer& trailer, const FamilySummary& seen) override {
    trailers.push_back(trailer);
    summaries.push_back(seen);
    return OkStatus();
  }

  std::vector<MediaHeader> headers;
  std::vector<BackupSet> begins;
  std::vector<Frame> frames;
  std::vector<Frame> void_frames;  // without their payload
  std::vector<SetTrailer> trailers;
  std::vector<FamilySummary> summaries;
  std::span<const std::byte> chunk;
  int copied_frames = 0;
  bool keep_payload = true;
  Authenticator* proves_with = nullptr;

 private:
  bool verify_;
};

// Reads a whole medium in chunks of one size (0: all at once) and says how that ended.
inline Status ReadAll(std::span<const std::byte> bytes, RecordingVisitor* visitor,
                      std::size_t chunk_size = 0, std::uint16_t position = 1) {
  auto reader = FamilyReader::Create("dev", position, visitor);
  const std::size_t step = chunk_size == 0 ? std::max<std::size_t>(bytes.size(), 1) : chunk_size;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    visitor->chunk = bytes.subspan(at, std::min(step, bytes.size() - at));
    CAPSTAN_RETURN_IF_ERROR(reader->Consume(visitor->chunk));
  }
  return reader->Finish();
}

}  // namespace capstan::media
