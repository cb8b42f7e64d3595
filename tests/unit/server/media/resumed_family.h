// Families of an interrupted backup and what goes on with them, for tests: what one session writes,
// what is found of it on a cut medium, and what the next session makes of that.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/media/authenticator.h"
#include "server/media/block_composer.h"
#include "server/media/payload_form.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {

// Proves by checksums of number and text, and fails the test if one number ever proves two
// different texts: with a real key that would give the key away. All of a test's share `seen`.
class NumberedAuthenticator final : public Authenticator {
 public:
  using Seen = std::map<std::pair<bool, std::uint64_t>, std::vector<std::byte>>;

  explicit NumberedAuthenticator(Seen* seen) : seen_(seen) {}

  Tag HeadTag(std::uint64_t number, std::span<const Bytes> pieces) override {
    std::vector<std::byte> text;
    for (const Bytes piece : pieces) {
      AppendBytes(&text, piece);
    }
    return TagOf(false, number, text);
  }
  void AddToEnd(std::uint64_t number, Bytes piece) override {
    EXPECT_EQ(end_number_.value_or(number), number);
    end_number_ = number;
    AppendBytes(&end_, piece);
  }
  Tag EndTag(std::uint64_t number) override {
    EXPECT_EQ(end_number_, number);
    return TagOf(true, number, end_);
  }

 private:
  Tag TagOf(bool is_end, std::uint64_t number, const std::vector<std::byte>& text) {
    const auto [found, is_new] = seen_->try_emplace({is_end, number}, text);
    EXPECT_TRUE(is_new || found->second == text) << "number " << number << " proves another text";
    Tag tag{};
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t crc =
          Crc32c(Crc32c(static_cast<std::uint32_t>(number >> 32 << 8 | number) + i, text), text);
      std::memcpy(tag.data() + i * sizeof(crc), &crc, sizeof(crc));
    }
    return tag;
  }

  Seen* const seen_;
  std::optional<std::uint64_t> end_number_;
  std::vector<std::byte> end_;
};

// How the payloads of a test's set stand on its media.
struct SetForm {
  const char* name;
  const char* codec;  // "": none
  bool encrypted;
};
inline void PrintTo(const SetForm& form, std::ostream* out) {
  *out << form.name;
}

inline constexpr SetForm kForms[] = {{"Plain", "", false},
                                     {"Lz4", "LZ4", false},
                                     {"Zstd", "ZSTD", false},
                                     {"Encrypted", "", true},
                                     {"ZstdEncrypted", "ZSTD", true}};

inline BackupSet SetOf(const SetForm& form) {
  BackupSet set = TestSet(65536);
  set.compression_algorithm = form.codec;
  if (form.encrypted) {
    set.encryption = {.key_algorithm = kAes256Name,
                      .encryptor_type = "CERTIFICATE",
                      .thumbprint = std::string(20, 't'),
                      .wrapped_key = "wrapped"};
  }
  return set;
}

inline MediaHeader HeaderOf(const SetForm& form, std::uint16_t families = 1,
                            std::uint16_t number = 1) {
  MediaHeader header = TestHeader();
  header.compressed = form.codec[0] != '\0';
  header.encrypted = form.encrypted;
  header.family_count = families;
  header.family_number = number;
  return header;
}

// A session's view of the same set: another time, and a description of another size.
inline BackupSet LaterSet(BackupSet set, std::int64_t seconds) {
  set.start_unix_s += seconds;
  set.first_lsn += static_cast<std::uint64_t>(seconds) << 24;
  set.last_lsn += static_cast<std::uint64_t>(seconds) << 25;
  set.files[0].size_bytes += static_cast<std::uint64_t>(seconds) * 4096;
  return set;
}

// What a session appends to a family's medium.
class FamilySession {
 public:
  FamilySession(const FamilyOptions& options, std::vector<std::byte> medium)
      : medium_(std::move(medium)),
        set_(options.set),
        form_(PayloadFormOf(options.set).value_or(PayloadForm())) {
    auto writer = FamilyWriter::Create(options);
    EXPECT_THAT(writer, test::IsOk());
    writer_ = std::move(writer).value();
  }

  FamilyWriter& writer() { return *writer_; }
  std::vector<std::byte>& medium() { return medium_; }
  const std::vector<FrameExtent>& extents() const { return extents_; }

  // Over what stands at the beginning.
  void PutPreamble() {
    const std::vector<std::byte> preamble = BytesOf(*writer_->Preamble());
    medium_.resize(std::max(medium_.size(), preamble.size()));
    std::copy(preamble.begin(), preamble.end(), medium_.begin());
  }

  // As the `stored_max` bytes that a codec makes of it, if there is one.
  void Add(const Piece& piece, std::uint32_t stored_max = 3000) {
    const std::uint32_t data =
        form_.compressed() ? std::min(piece.length, stored_max) : piece.length;
    const std::uint32_t stored = form_.lead() + data + form_.tail();
    const FrameGeometry geometry = writer_->geometry();
    std::vector<std::byte> buffer(geometry.FrameSize(stored), std::byte{0xEE});
    const auto payload = std::span(buffer).subspan(geometry.payload_offset, stored);
    const std::vector<std::byte> content = PayloadOf(piece);
    std::copy_n(content.begin(), data, payload.begin() + form_.lead());
    if (!form_.plain()) {
      PutPayloadHeaders(form_, piece.length, payload);
    }
    const FrameExtent extent{.file_index = piece.file_index,
                             .file_offset = piece.file_offset,
                             .length = piece.length,
                             .sequence = piece.sequence,
                             .crc32c = Crc32c(0, payload),
                             .stored_length = form_.plain() ? 0 : stored};
    EXPECT_EQ(writer_->SealFrame(buffer, extent), medium_.size());
    medium_.insert(medium_.end(), buffer.begin(), buffer.end());
    extents_.push_back(extent);
  }

  // `stored_bytes` of all families, of a compressed set.
  void End(const std::vector<FamilySummary>& families, std::uint64_t payload_bytes,
           std::uint64_t stored_bytes = 0) {
    BackupSet final_set = FinalOf(set_, payload_bytes);
    final_set.compressed_size_bytes = stored_bytes;
    auto trailer = writer_->Trailer(final_set, families);
    ASSERT_THAT(trailer, test::IsOk());
    AppendBytes(&medium_, BytesOf(**trailer));
  }
  void End() { End({writer_->summary()}, writer_->summary().payload_bytes); }

 private:
  std::vector<std::byte> medium_;
  const BackupSet set_;
  const PayloadForm form_;
  std::unique_ptr<FamilyWriter> writer_;
  std::vector<FrameExtent> extents_;
};

// What can be had of a medium that may break off anywhere: its frames up to the first one that is
// not whole, and why there are no more.
class Salvage final : public FamilyVisitor {
 public:
  struct Frame {
    FrameExtent extent;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };

  static Salvage Of(std::span<const std::byte> medium) {
    Salvage salvage;
    auto reader = FamilyReader::Create("dev", 1, &salvage);
    std::size_t at = 0;
    while (salvage.status.ok() && !reader->done() && at < medium.size()) {
      const std::size_t size =
          std::min<std::size_t>(reader->next_read_size(65536), medium.size() - at);
      salvage.status = reader->Consume(medium.subspan(at, size));
      at += size;
    }
    if (salvage.status.ok()) {
      salvage.status = reader->Finish();
    }
    return salvage;
  }

  Status OnMediaHeader(const MediaHeader& the_header) override {
    header = the_header;
    return OkStatus();
  }
  Status OnSetBegin(const BackupSet& the_set) override {
    set = the_set;
    return OkStatus();
  }
  Status OnFrame(const FrameView& frame) override {
    EXPECT_FALSE(frame.extent.is_void());
    return Take(frame);
  }
  Status OnVoidFrame(const FrameView& frame) override {
    EXPECT_TRUE(frame.extent.is_void());
    return Take(frame);
  }
  Status OnSetEnd(const SetTrailer& the_trailer, const FamilySummary& the_seen) override {
    trailer = the_trailer;
    seen = the_seen;
    return OkStatus();
  }

  std::vector<FrameExtent> extents() const {
    std::vector<FrameExtent> extents;
    for (const Frame& frame : frames) {
      extents.push_back(frame.extent);
    }
    return extents;
  }
  // What counts, by sequence.
  std::set<std::uint64_t> sequences() const {
    std::set<std::uint64_t> sequences;
    for (const Frame& frame : frames) {
      if (!frame.extent.is_void()) {
        EXPECT_TRUE(sequences.insert(frame.extent.sequence).second);
      }
    }
    return sequences;
  }
  std::uint64_t end() const { return frames.back().offset + frames.back().size; }

  std::optional<MediaHeader> header;
  std::optional<BackupSet> set;
  std::vector<Frame> frames;
  std::optional<SetTrailer> trailer;
  FamilySummary seen;
  Status status;

 private:
  Status Take(const FrameView& frame) {
    CAPSTAN_RETURN_IF_ERROR(VerifyFrame(frame, "dev"));
    EXPECT_GT(frame.payload.data(), frame.bytes.data());
    EXPECT_LT(frame.payload.data() + frame.payload.size(), frame.bytes.data() + frame.bytes.size());
    frames.push_back({frame.extent, frame.medium_offset, frame.bytes.size()});
    return OkStatus();
  }
};

inline bool SameExtent(const FrameExtent& a, const FrameExtent& b) {
  return a.file_index == b.file_index && a.file_offset == b.file_offset && a.length == b.length &&
         a.sequence == b.sequence && a.crc32c == b.crc32c && a.stored_size() == b.stored_size();
}

}  // namespace capstan::media
