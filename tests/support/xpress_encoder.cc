#include "tests/support/xpress_encoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <queue>
#include <utility>

namespace capstan::test {
namespace {

constexpr std::size_t kSymbols = 512;
constexpr std::size_t kEndOfChunk = 256;
constexpr unsigned kCodeBitsMax = 15;
constexpr std::size_t kMatchMin = 3;

// A literal, or a match with its distance.
struct Token {
  std::size_t symbol = 0;
  std::size_t length = 0;  // of a match, less the 3 that every one has
  std::size_t distance = 0;
};

std::vector<Token> Tokens(std::span<const std::byte> plain) {
  std::vector<Token> tokens;
  std::map<std::array<std::byte, kMatchMin>, std::size_t> seen;
  for (std::size_t at = 0; at < plain.size();) {
    std::size_t length = 0;
    std::size_t from = 0;
    if (at + kMatchMin <= plain.size()) {
      std::array<std::byte, kMatchMin> key{};
      std::copy_n(plain.begin() + static_cast<std::ptrdiff_t>(at), kMatchMin, key.begin());
      if (const auto found = seen.find(key); found != seen.end()) {
        from = found->second;
        while (at + length < plain.size() && plain[from + length] == plain[at + length]) {
          ++length;
        }
      }
      seen[key] = at;
    }
    if (length < kMatchMin) {
      tokens.push_back({.symbol = std::to_integer<std::size_t>(plain[at])});
      ++at;
      continue;
    }
    const std::size_t distance = at - from;
    const auto distance_bits = static_cast<std::size_t>(std::bit_width(distance) - 1);
    const std::size_t over = length - kMatchMin;
    tokens.push_back({.symbol = 256 + distance_bits * 16 + std::min<std::size_t>(over, 15),
                      .length = over,
                      .distance = distance});
    at += length;
  }
  return tokens;
}

// Code lengths from frequencies; all nine bits if some would be longer than a table can say.
std::array<unsigned, kSymbols> CodeLengths(const std::vector<Token>& tokens) {
  std::array<std::size_t, kSymbols> counts{};
  for (const Token& token : tokens) {
    ++counts[token.symbol];
  }
  ++counts[kEndOfChunk];
  ++counts[0];  // two symbols at least make a code
  struct Node {
    std::size_t weight;
    std::vector<std::size_t> symbols;
  };
  const auto heavier = [](const Node& a, const Node& b) { return a.weight > b.weight; };
  std::priority_queue<Node, std::vector<Node>, decltype(heavier)> nodes(heavier);
  for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
    if (counts[symbol] != 0) nodes.push({counts[symbol], {symbol}});
  }
  std::array<unsigned, kSymbols> lengths{};
  while (nodes.size() > 1) {
    Node left = nodes.top();
    nodes.pop();
    const Node right = nodes.top();
    nodes.pop();
    left.weight += right.weight;
    left.symbols.insert(left.symbols.end(), right.symbols.begin(), right.symbols.end());
    for (const std::size_t symbol : left.symbols) ++lengths[symbol];
    nodes.push(std::move(left));
  }
  if (*std::max_element(lengths.begin(), lengths.end()) > kCodeBitsMax) {
    lengths.fill(9);
  }
  return lengths;
}

// Codes in canonical order: by length, then by symbol.
std::array<unsigned, kSymbols> Codes(const std::array<unsigned, kSymbols>& lengths) {
  std::array<unsigned, kSymbols> codes{};
  unsigned code = 0;
  for (unsigned bits = 1; bits <= kCodeBitsMax; ++bits, code <<= 1) {
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
      if (lengths[symbol] == bits) codes[symbol] = code++;
    }
  }
  return codes;
}

// Bits go into 16-bit words whose places are set aside two ahead; bytes go where the next word
// would.
class BitWriter {
 public:
  explicit BitWriter(std::vector<std::byte>* out)
      : out_(out), first_(out->size()), second_(out->size() + 2) {
    out->resize(out->size() + 4);
  }
  void Bits(unsigned count, std::size_t bits) {
    for (unsigned i = count; i-- > 0;) {
      if (used_ == 16) {
        Place();
      }
      word_ = static_cast<std::uint16_t>(word_ * 2U + (bits >> i & 1));
      ++used_;
    }
  }
  void Byte(std::size_t value) { out_->push_back(static_cast<std::byte>(value)); }
  void Word(std::size_t value) {
    Byte(value & 0xFF);
    Byte(value >> 8 & 0xFF);
  }
  void Finish() {
    word_ = static_cast<std::uint16_t>(static_cast<unsigned>(word_) << (16 - used_));
    Put(first_);
  }

 private:
  // A full word is put down when the next bit comes, as the decoder takes it in.
  void Place() {
    Put(first_);
    first_ = second_;
    second_ = out_->size();
    out_->resize(out_->size() + 2);
    word_ = 0;
    used_ = 0;
  }
  void Put(std::size_t at) {
    (*out_)[at] = static_cast<std::byte>(word_ & 0xFF);
    (*out_)[at + 1] = static_cast<std::byte>(word_ >> 8);
  }

  std::vector<std::byte>* const out_;
  std::size_t first_, second_;
  std::uint16_t word_ = 0;
  unsigned used_ = 0;
};

void WriteLength(BitWriter* writer, std::size_t over) {
  if (over < 15) {
    return;
  }
  if (over - 15 < 255) {
    writer->Byte(over - 15);
    return;
  }
  writer->Byte(255);
  writer->Word(over);
}

}  // namespace

std::vector<std::byte> CompressXpressHuffman(std::span<const std::byte> plain) {
  const std::vector<Token> tokens = Tokens(plain);
  const std::array<unsigned, kSymbols> lengths = CodeLengths(tokens);
  const std::array<unsigned, kSymbols> codes = Codes(lengths);
  std::vector<std::byte> out;
  for (std::size_t symbol = 0; symbol < kSymbols; symbol += 2) {
    out.push_back(static_cast<std::byte>(lengths[symbol] | lengths[symbol + 1] << 4U));
  }
  BitWriter writer(&out);
  for (const Token& token : tokens) {
    writer.Bits(lengths[token.symbol], codes[token.symbol]);
    if (token.symbol < 256) continue;
    WriteLength(&writer, token.length);
    const auto distance_bits = static_cast<unsigned>((token.symbol - 256) >> 4);
    writer.Bits(distance_bits, token.distance - (std::size_t{1} << distance_bits));
  }
  writer.Bits(lengths[kEndOfChunk], codes[kEndOfChunk]);
  writer.Finish();
  return out;
}

}  // namespace capstan::test
