#include "server/transform/codec.h"

#include <limits>

#include <lz4.h>
#include <lz4hc.h>
#include <zstd.h>

#include "vdi/base/check.h"

namespace capstan::transform {
namespace {

Status NoMemory() {
  return Error(Code::kResourceExhausted, "no memory to compress with");
}

Status Damaged(std::string_view codec) {
  return Error(Code::kDataLoss, "not what {} compressed", codec);
}

int ZstdLevel(Level level) {
  switch (level) {
    case Level::kLow:
      return 1;
    case Level::kMedium:
      return 3;
    case Level::kHigh:
      return 9;
  }
  return 1;
}

struct ZstdDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class ZstdCompressor final : public Compressor {
 public:
  explicit ZstdCompressor(std::unique_ptr<ZSTD_CCtx, ZstdDeleter> context)
      : context_(std::move(context)) {}

  std::optional<std::size_t> Compress(std::span<const std::byte> source,
                                      std::span<std::byte> target) override {
    const std::size_t size =
        ZSTD_compress2(context_.get(), target.data(), target.size(), source.data(), source.size());
    // What does not fit is the one thing that goes wrong here.
    return ZSTD_isError(size) != 0 ? std::nullopt : std::optional<std::size_t>(size);
  }

 private:
  const std::unique_ptr<ZSTD_CCtx, ZstdDeleter> context_;
};

class ZstdDecompressor final : public Decompressor {
 public:
  explicit ZstdDecompressor(std::unique_ptr<ZSTD_DCtx, ZstdDeleter> context)
      : context_(std::move(context)) {}

  Status Decompress(std::span<const std::byte> source, std::span<std::byte> target) override {
    // Several frames, and frames to be skipped, would be decompressed as one.
    if (ZSTD_getFrameContentSize(source.data(), source.size()) != target.size() ||
        ZSTD_findFrameCompressedSize(source.data(), source.size()) != source.size()) {
      return Damaged("ZSTD");
    }
    const std::size_t size = ZSTD_decompressDCtx(context_.get(), target.data(), target.size(),
                                                 source.data(), source.size());
    return size == target.size() ? OkStatus() : Damaged("ZSTD");
  }

 private:
  const std::unique_ptr<ZSTD_DCtx, ZstdDeleter> context_;
};

class Lz4Compressor final : public Compressor {
 public:
  Lz4Compressor(std::unique_ptr<std::byte[]> state, int high_level)
      : state_(std::move(state)), high_level_(high_level) {}

  std::optional<std::size_t> Compress(std::span<const std::byte> source,
                                      std::span<std::byte> target) override {
    const auto* const from = reinterpret_cast<const char*>(source.data());
    auto* const to = reinterpret_cast<char*>(target.data());
    CAPSTAN_CHECK(source.size() <= LZ4_MAX_INPUT_SIZE &&
                  target.size() <= std::numeric_limits<int>::max());
    const int from_size = static_cast<int>(source.size());
    const int to_size = static_cast<int>(target.size());
    const int size =
        high_level_ == 0
            ? LZ4_compress_fast_extState(state_.get(), from, to, from_size, to_size, 1)
            : LZ4_compress_HC_extStateHC(state_.get(), from, to, from_size, to_size, high_level_);
    return size > 0 ? std::optional<std::size_t>(size) : std::nullopt;
  }

 private:
  const std::unique_ptr<std::byte[]> state_;
  const int high_level_;  // of LZ4's slow compressor; 0: the fast one
};

class Lz4Decompressor final : public Decompressor {
 public:
  Status Decompress(std::span<const std::byte> source, std::span<std::byte> target) override {
    if (source.size() > std::numeric_limits<int>::max() ||
        target.size() > std::numeric_limits<int>::max()) {
      return Damaged("LZ4");
    }
    const int size = LZ4_decompress_safe(
        reinterpret_cast<const char*>(source.data()), reinterpret_cast<char*>(target.data()),
        static_cast<int>(source.size()), static_cast<int>(target.size()));
    return size >= 0 && static_cast<std::size_t>(size) == target.size() ? OkStatus()
                                                                        : Damaged("LZ4");
  }
};

Result<std::unique_ptr<Compressor>> MakeZstd(Level level) {
  std::unique_ptr<ZSTD_CCtx, ZstdDeleter> context(ZSTD_createCCtx());
  if (context == nullptr || ZSTD_isError(ZSTD_CCtx_setParameter(
                                context.get(), ZSTD_c_compressionLevel, ZstdLevel(level))) != 0) {
    return NoMemory();
  }
  return std::unique_ptr<Compressor>(std::make_unique<ZstdCompressor>(std::move(context)));
}

Result<std::unique_ptr<Compressor>> MakeLz4(Level level) {
  constexpr int kMediumLevel = 3;
  constexpr int kHighLevel = 9;
  const int high_level = level == Level::kLow      ? 0
                         : level == Level::kMedium ? kMediumLevel
                                                   : kHighLevel;
  const int state_size = high_level == 0 ? LZ4_sizeofState() : LZ4_sizeofStateHC();
  // operator new aligns for any type, which is what LZ4 asks of its state.
  auto state = std::make_unique<std::byte[]>(static_cast<std::size_t>(state_size));
  return std::unique_ptr<Compressor>(std::make_unique<Lz4Compressor>(std::move(state), high_level));
}

}  // namespace

std::string_view AlgorithmName(Algorithm algorithm) {
  return algorithm == Algorithm::kLz4 ? "LZ4" : "ZSTD";
}

std::optional<Algorithm> AlgorithmOfName(std::string_view name) {
  for (const Algorithm algorithm : {Algorithm::kZstd, Algorithm::kLz4}) {
    if (name == AlgorithmName(algorithm)) {
      return algorithm;
    }
  }
  return std::nullopt;
}

Result<std::unique_ptr<Compressor>> Compressor::Create(const Compression& settings) {
  return settings.algorithm == Algorithm::kLz4 ? MakeLz4(settings.level) : MakeZstd(settings.level);
}

Result<std::unique_ptr<Decompressor>> Decompressor::Create(Algorithm algorithm) {
  if (algorithm == Algorithm::kLz4) {
    return std::unique_ptr<Decompressor>(std::make_unique<Lz4Decompressor>());
  }
  std::unique_ptr<ZSTD_DCtx, ZstdDeleter> context(ZSTD_createDCtx());
  if (context == nullptr) {
    return NoMemory();
  }
  return std::unique_ptr<Decompressor>(std::make_unique<ZstdDecompressor>(std::move(context)));
}

}  // namespace capstan::transform
