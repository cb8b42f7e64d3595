// One family on several media, composed with FamilyWriter.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {

// A medium with the places of its hard filemarks.
struct Tape {
  std::vector<std::byte> bytes;
  std::vector<std::size_t> marks;
};

inline MediumForm HardForm() {
  return {.hard_filemarks = true, .block_size = 512, .soft_filemark_units = 0};
}

// Writes one family over as many media as are asked for.
class SpanBuilder {
 public:
  explicit SpanBuilder(const MediumForm& form, const MediaHeader& header = TestHeader())
      : set_(TestSet(65536)) {
    auto writer = FamilyWriter::Create(header, set_, form);
    EXPECT_THAT(writer, test::IsOk());
    writer_ = std::move(writer).value();
    tapes_.emplace_back();
    Write(*writer_->Preamble());
  }

  FamilyWriter& writer() { return *writer_; }

  void Add(int frames) {
    for (int i = 0; i < frames; ++i) {
      std::vector<std::byte> buffer(set_.transfer_size, std::byte{0xEE});
      const Piece piece{.file_offset = sequence_ * 4096, .length = 4096, .sequence = sequence_};
      const std::vector<std::byte> payload = PayloadOf(piece);
      std::copy(payload.begin(), payload.end(),
                buffer.begin() + writer_->geometry().payload_offset);
      EXPECT_EQ(writer_->SealFrame(buffer, {.file_offset = piece.file_offset,
                                            .length = piece.length,
                                            .sequence = sequence_++,
                                            .crc32c = Crc32c(0, payload)}),
                tapes_.back().bytes.size());
      Append(buffer);
    }
  }
  void NextMedium(bool only_end_follows = false) {
    Write(*writer_->EndMedium());
    EXPECT_THAT(writer_->NextMedium(only_end_follows), test::IsOk());
    tapes_.emplace_back();
    Write(*writer_->Preamble());
  }
  // All of the trailer, or no more than `limit` bytes of it.
  void End(std::uint64_t limit = UINT64_MAX) {
    const FamilySummary own = writer_->summary();
    const auto trailer = writer_->Trailer(FinalOf(set_, own.payload_bytes), std::span(&own, 1));
    ASSERT_THAT(trailer, test::IsOk());
    Write(**trailer, limit);
  }
  std::vector<Tape> Take() { return std::move(tapes_); }

 private:
  void Append(std::span<const std::byte> bytes) {
    tapes_.back().bytes.insert(tapes_.back().bytes.end(), bytes.begin(), bytes.end());
  }
  void Write(MediumPart& part, std::uint64_t limit = UINT64_MAX) {
    std::vector<std::byte> target(4096);
    while (limit > 0) {
      if (part.TakeFilemark()) {
        tapes_.back().marks.push_back(tapes_.back().bytes.size());
        part.SetPosition(1000 * tapes_.size() + tapes_.back().bytes.size() / 512);
        continue;
      }
      const std::size_t size = part.Fill(target);
      if (size == 0) {
        return;
      }
      Append(std::span(target).first(size));
      limit -= size;
    }
  }

  const BackupSet set_;
  std::unique_ptr<FamilyWriter> writer_;
  std::vector<Tape> tapes_;
  std::uint64_t sequence_ = 0;
};

}  // namespace capstan::media
