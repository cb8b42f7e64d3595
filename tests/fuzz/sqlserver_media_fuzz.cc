// Whatever bytes a medium of SQL Server holds: listing and verification end, fail cleanly and stay
// within memory. The first byte says what is tried on the rest, and whether checksums are put right
// before: otherwise few inputs would come past them.
//
//   sqlserver_seed_corpus DIRECTORY [SAMPLES] && sqlserver_media_fuzz DIRECTORY
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/media/family_reader.h"
#include "server/media/sqlserver/config_records.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/filemark_index.h"
#include "server/media/sqlserver/verifier.h"
#include "server/media/sqlserver/xpress_huffman.h"
#include "vdi/base/check.h"

namespace capstan::media::sqlserver {
namespace {

class FuzzSource final : public MediumSource {
 public:
  FuzzSource(Bytes bytes, bool random) : bytes_(bytes), random_(random) {}
  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override { return random_ ? bytes_.size() : 0; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    CAPSTAN_CHECK(random_ || offset >= position_);
    const std::size_t start = std::min<std::uint64_t>(offset, bytes_.size());
    const std::size_t size = std::min(target.size(), bytes_.size() - start);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(start), size, target.begin());
    position_ = start + size;
    return size;
  }

 private:
  const std::string name_ = "fuzz";
  const Bytes bytes_;
  const bool random_;
  std::uint64_t position_ = 0;
};

template <typename Header>
void Repair(std::span<std::byte> bytes, std::size_t at) {
  if (bytes.size() - at < sizeof(Header)) {
    return;
  }
  auto header = LoadStruct<Header>(bytes.subspan(at));
  header.checksum = HeaderChecksum(header);
  std::copy_n(AsBytes(header).begin(), sizeof(header),
              bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

void RepairChecksums(std::span<std::byte> bytes) {
  constexpr std::uint32_t kBlocks[] = {FourCc("TAPE"), FourCc("SSET"), FourCc("VOLB"),
                                       FourCc("MSCI"), FourCc("MSDA"), FourCc("MSTL"),
                                       FourCc("MSLS"), FourCc("ESET"), FourCc("SFMB")};
  constexpr std::uint32_t kStreams[] = {FourCc("RAID"), FourCc("MQCI"), FourCc("MQDA"),
                                        FourCc("MQTL"), FourCc("CSUM"), FourCc("SPAD"),
                                        FourCc("APAD"), FourCc("OTCP"), FourCc("TSMP")};
  for (std::size_t at = 0; at + sizeof(std::uint32_t) <= bytes.size(); at += 4) {
    const auto type = LoadStruct<std::uint32_t>(bytes.subspan(at));
    if (std::find(std::begin(kBlocks), std::end(kBlocks), type) != std::end(kBlocks)) {
      Repair<BlockHeader>(bytes, at);
    } else if (std::find(std::begin(kStreams), std::end(kStreams), type) != std::end(kStreams)) {
      Repair<StreamHeader>(bytes, at);
    }
  }
  if (!IsContainer(bytes)) {
    return;
  }
  for (std::size_t at = kFirstRecord; at + 28 <= bytes.size();) {
    const auto record = LoadStruct<ContainerRecord>(bytes.subspan(at));
    if (record.type != RecordType::kCompressed || record.size > bytes.size() - at - 28) {
      at += 512 - at % 512;  // what follows a filemark
      continue;
    }
    const std::uint32_t sum = RecordChecksum(bytes.subspan(at + 28, record.size));
    std::copy_n(AsBytes(sum).begin(), sizeof(sum),
                bytes.begin() + static_cast<std::ptrdiff_t>(at + 24));
    at += 28U + record.size;
  }
}

void List(Bytes bytes, bool random) {
  FuzzSource source(bytes, random);
  const Result<MediumListing> listing = ReadListing(source);
  FuzzSource again(bytes, random);
  const bool has_label = ReadLabel(again).ok();
  CAPSTAN_CHECK(has_label || !listing.ok());
}

void Verify(Bytes bytes, std::uint16_t position) {
  FuzzSource source(bytes, false);
  const Result<FamilyFindings> findings = VerifyFamily(source, {.position = position});
  if (findings.ok()) {
    CAPSTAN_CHECK(findings->facts.by_sql_server);
    CAPSTAN_CHECK(findings->data_size <= std::uint64_t{bytes.size()} * 65536);
    (void)VerifyTogether({findings.value()});
  }
}

void Parse(Bytes bytes) {
  ForeignSet set;
  (void)ParseConfiguration(bytes, ConfigurationPlace::kEnd, &set);
  const std::optional<FilemarkEntries> entries = ParseFilemark(bytes);
  CAPSTAN_CHECK(!entries || entries->offsets.size() <= bytes.size() / sizeof(std::uint64_t));
  std::vector<std::byte> target(kXpressChunkMax);
  (void)DecompressXpressHuffman(bytes, target);
}

}  // namespace
}  // namespace capstan::media::sqlserver

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan::media::sqlserver;  // NOLINT(google-build-using-namespace): the program
  if (size == 0) {
    return 0;
  }
  const auto input = std::as_bytes(std::span(data + 1, size - 1));
  std::vector<std::byte> bytes(input.begin(), input.end());
  if ((data[0] & 8) != 0) {
    RepairChecksums(bytes);
  }
  switch (data[0] % 4) {
    case 0:
      List(bytes, true);
      break;
    case 1:
      List(bytes, false);
      break;
    case 2:
      Verify(bytes, static_cast<std::uint16_t>(1 + data[0] / 128));
      break;
    default:
      Parse(bytes);
      break;
  }
  return 0;
}
