#include "server/coordinator/statement_requests.h"

#include <optional>
#include <utility>

namespace capstan::coordinator {
namespace {

constexpr std::int64_t kDay = 86'400;  // seconds

std::vector<std::string> NamesOf(const std::vector<tsql::DeviceClause>& devices) {
  std::vector<std::string> names;
  for (const tsql::DeviceClause& device : devices) {
    names.push_back(device.name);
  }
  return names;
}

transform::Secret SecretOf(const tsql::PassphraseClause& passphrase) {
  return {.from = passphrase.from == tsql::PassphraseClause::From::kFile
                      ? transform::Secret::From::kFile
                      : transform::Secret::From::kEnvironment,
          .name = passphrase.name};
}

std::optional<transform::Secret> SecretOf(const std::optional<tsql::PassphraseClause>& passphrase) {
  return passphrase ? std::optional(SecretOf(*passphrase)) : std::nullopt;
}

transform::Level LevelOf(tsql::CompressionLevel level) {
  switch (level) {
    case tsql::CompressionLevel::kLow:
      break;
    case tsql::CompressionLevel::kMedium:
      return transform::Level::kMedium;
    case tsql::CompressionLevel::kHigh:
      return transform::Level::kHigh;
  }
  return transform::Level::kLow;
}

transform::Compression CompressionOf(const std::optional<tsql::CompressionClause>& clause,
                                     const BackupDefaults& defaults) {
  transform::Compression compression{.algorithm = defaults.algorithm};
  if (clause && clause->algorithm) {
    compression.algorithm = *clause->algorithm == tsql::CompressionAlgorithm::kLz4
                                ? transform::Algorithm::kLz4
                                : transform::Algorithm::kZstd;
  }
  if (clause && clause->level) {
    compression.level = LevelOf(*clause->level);
  }
  return compression;
}

std::optional<transform::Encryption> EncryptionOf(
    const std::optional<tsql::EncryptionClause>& clause) {
  if (!clause) {
    return std::nullopt;
  }
  if (clause->passphrase) {
    return transform::Encryption{SecretOf(*clause->passphrase)};
  }
  return transform::Encryption{transform::CertificateName{clause->certificate}};
}

std::int64_t ExpirationOf(const tsql::BackupStatement& statement, const BackupDefaults& defaults,
                          std::int64_t now_unix_s) {
  if (!statement.retain_days && statement.expire_date_unix_s) {
    return *statement.expire_date_unix_s;
  }
  const int days = statement.retain_days.value_or(defaults.retention_days);
  return days == 0 ? 0 : now_unix_s + days * kDay;
}

writers::LogTail TailOf(tsql::LogTail tail) {
  switch (tail) {
    case tsql::LogTail::kNone:
      break;
    case tsql::LogTail::kNoRecovery:
      return writers::LogTail::kNoRecovery;
    case tsql::LogTail::kNoTruncate:
      return writers::LogTail::kNoTruncate;
  }
  return writers::LogTail::kNone;
}

}  // namespace

writers::StopPoint StopPointOf(const std::optional<tsql::StopClause>& stop) {
  using Kind = writers::StopPoint::Kind;
  if (!stop.has_value()) {
    return {};
  }
  const Kind kind = stop->kind == tsql::StopClause::Kind::kTime  ? Kind::kTime
                    : stop->kind == tsql::StopClause::Kind::kLsn ? Kind::kLsn
                                                                 : Kind::kMark;
  return {.kind = kind,
          .unix_us = stop->unix_us,
          .lsn = {stop->lsn},
          .mark = stop->mark,
          .before = stop->before};
}

writers::RestoreEnd RestoreEndOf(tsql::RestoreEnd end) {
  switch (end) {
    case tsql::RestoreEnd::kRecovery:
      break;
    case tsql::RestoreEnd::kNoRecovery:
      return writers::RestoreEnd::kNoRecovery;
    case tsql::RestoreEnd::kStandby:
      return writers::RestoreEnd::kStandby;
  }
  return writers::RestoreEnd::kRecovery;
}

engine::TransferRequest TransferRequestOf(const std::vector<tsql::DeviceClause>& devices,
                                          const tsql::TransferOptions& options,
                                          const Session& session, const std::string& text) {
  engine::TransferRequest request;
  if (!devices.empty()) {
    request.device_class = tsql::DeviceClassName(devices.front().device_class);
  }
  request.targets = NamesOf(devices);
  request.buffer_count = options.buffer_count;
  request.max_transfer_size = options.max_transfer_size;
  request.block_size = options.block_size;
  request.bytes_per_second_max = std::uint64_t{options.max_rate_mb.value_or(0)} << 20;
  request.stats_percent = options.stats_percent;
  request.checksum = options.checksum;
  request.session_id = session.session_id;
  request.user_name = session.login;
  request.statement = text;
  return request;
}

engine::BackupRequest BackupRequestOf(const tsql::BackupStatement& statement,
                                      engine::TransferRequest transfer,
                                      const BackupDefaults& defaults, std::int64_t now_unix_s) {
  engine::BackupRequest request;
  request.transfer = std::move(transfer);
  // No page of a snapshot passes through the server.
  const bool passes_through = !statement.snapshot;
  if (!request.transfer.checksum && defaults.checksum && passes_through) {
    request.transfer.checksum = true;
  }
  for (const std::vector<tsql::DeviceClause>& mirror : statement.mirrors) {
    request.mirrors.push_back(NamesOf(mirror));
  }
  request.database = statement.database;
  request.media_use = statement.format ? engine::MediaUse::kFormat
                      : statement.init ? engine::MediaUse::kOverwrite
                                       : engine::MediaUse::kAppend;
  request.kind = statement.log            ? writers::BackupKind::kLog
                 : statement.differential ? writers::BackupKind::kDifferential
                                          : writers::BackupKind::kFull;
  request.tail = TailOf(statement.tail);
  request.skip = statement.skip;
  // T-SQL lets both stand there, and then a differential backup is what it always is.
  request.copy_only = statement.copy_only && !statement.differential;
  request.snapshot = statement.snapshot;
  request.continue_after_error = statement.continue_after_error;
  request.restart = statement.restart;
  if (statement.compression) {
    request.compression = statement.compression->on;
  }
  request.compression_default = defaults.compression && passes_through;
  request.compression_settings = CompressionOf(statement.compression, defaults);
  request.encryption = EncryptionOf(statement.encryption);
  request.expiration_unix_s = ExpirationOf(statement, defaults, now_unix_s);
  request.name = statement.name;
  request.description = statement.description;
  request.media_name = statement.media_name;
  request.media_description = statement.media_description;
  return request;
}

engine::RestoreRequest RestoreRequestOf(const tsql::RestoreStatement& statement,
                                        engine::TransferRequest transfer) {
  engine::RestoreRequest request;
  request.transfer = std::move(transfer);
  request.transfer.media_password = statement.media_password;
  request.database = statement.database;
  request.log = statement.log;
  request.end = RestoreEndOf(statement.end);
  request.stop = StopPointOf(statement.stop);
  request.replace = statement.replace;
  request.restart = statement.restart;
  request.snapshot = statement.snapshot;
  request.continue_after_error = statement.continue_after_error;
  request.file_number = statement.file_number;
  request.moves = statement.moves;
  request.media_name = statement.media_name;
  request.passphrase = SecretOf(statement.passphrase);
  return request;
}

engine::VerifyRequest VerifyRequestOf(const tsql::RestoreQueryStatement& statement,
                                      engine::TransferRequest transfer) {
  engine::VerifyRequest request;
  request.transfer = std::move(transfer);
  request.transfer.media_password = statement.media_password;
  request.file_number = statement.file_number;
  request.continue_after_error = statement.continue_after_error;
  request.load_history = statement.load_history;
  request.sample_percent = statement.sample_percent.value_or(100.0);
  request.media_name = statement.media_name;
  request.passphrase = SecretOf(statement.passphrase);
  return request;
}

}  // namespace capstan::coordinator
