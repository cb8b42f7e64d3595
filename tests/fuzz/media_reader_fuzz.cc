// Whatever bytes a medium holds: reader and listing end, fail cleanly and stay within memory.
//
//   media_seed_corpus DIRECTORY && media_reader_fuzz DIRECTORY
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "server/media/family_reader.h"

namespace capstan::media {
namespace {

class CheckingVisitor final : public FamilyVisitor {
 public:
  Status OnMediaHeader(const MediaHeader&) override { return OkStatus(); }
  Status OnSetBegin(const BackupSet& set) override {
    file_count_ = set.files.size();
    return OkStatus();
  }
  Status OnFrame(const FrameView& frame) override {
    CAPSTAN_CHECK(frame.extent.file_index < file_count_);
    CAPSTAN_CHECK(!frame.extent.is_void());
    CAPSTAN_CHECK(frame.payload.size() == frame.extent.stored_size());
    return VerifyFrame(frame, "fuzz");
  }
  // Whoever goes on with a medium writes over its head, in place.
  Status OnVoidFrame(const FrameView& frame) override {
    CAPSTAN_CHECK(frame.extent.is_void() && frame.extent.file_index < file_count_);
    CAPSTAN_CHECK(frame.payload.size() == frame.extent.stored_size());
    std::vector<std::byte> head(frame.bytes.begin(), frame.bytes.begin() + kPhysicalBlock);
    MakeVoid(head);
    CAPSTAN_CHECK(std::equal(head.begin(), head.end(), frame.bytes.begin()));
    return OkStatus();
  }
  Status OnSetEnd(const SetTrailer& trailer, const FamilySummary&) override {
    CAPSTAN_CHECK(!trailer.families.empty());
    return OkStatus();
  }

 private:
  std::size_t file_count_ = 0;
};

class FuzzSource final : public MediumSource {
 public:
  FuzzSource(std::span<const std::byte> bytes, bool random) : bytes_(bytes), random_(random) {}
  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override { return random_ ? bytes_.size() : 0; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    const std::size_t start = std::min<std::uint64_t>(offset, bytes_.size());
    const std::size_t size = std::min(target.size(), bytes_.size() - start);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(start), size, target.begin());
    return size;
  }

 private:
  const std::string name_ = "fuzz";
  const std::span<const std::byte> bytes_;
  const bool random_;
};

void Read(std::span<const std::byte> bytes, std::size_t chunk_size) {
  CheckingVisitor visitor;
  const auto reader = FamilyReader::Create("fuzz", 1, &visitor);
  Status status;
  for (std::size_t at = 0; at < bytes.size() && status.ok() && !reader->done(); at += chunk_size) {
    CAPSTAN_CHECK(reader->next_read_size(65536) > 0);
    status = reader->Consume(bytes.subspan(at, std::min(chunk_size, bytes.size() - at)));
  }
  const Status end = reader->Finish();
  CAPSTAN_CHECK(reader->done() || !end.ok());
}

}  // namespace
}  // namespace capstan::media

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan::media;  // NOLINT(google-build-using-namespace): the whole program
  const auto bytes = std::as_bytes(std::span(data, size));
  Read(bytes, 65536);
  Read(bytes, 4093);
  FuzzSource random(bytes, true);
  FuzzSource forward(bytes, false);
  (void)ReadListing(random);
  (void)ReadListing(forward);
  return 0;
}
