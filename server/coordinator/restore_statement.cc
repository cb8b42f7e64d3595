#include "server/coordinator/restore_statement.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/coordinator/chain_table.h"
#include "server/engine/placement/restore_targets.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

engine::ChainReach ReachOf(tsql::ChainReach reach) {
  switch (reach) {
    case tsql::ChainReach::kFull:
      return engine::ChainReach::kFull;
    case tsql::ChainReach::kDifferential:
      return engine::ChainReach::kDifferential;
    case tsql::ChainReach::kAll:
      break;
  }
  return engine::ChainReach::kAll;
}

std::string_view CommandOf(const engine::RestoreRequest& request) {
  return request.log ? "RESTORE LOG" : "RESTORE DATABASE";
}

}  // namespace

RestoreRun::RestoreRun(Parts parts, const tsql::RestoreStatement& statement, const Session& session,
                       const std::string& text)
    : parts_(std::move(parts)), statement_(statement), session_(session), text_(text) {}

Status RestoreRun::Run() {
  CAPSTAN_ASSIGN_OR_RETURN(engine::RestoreRequest request, Request());
  switch (statement_.from) {
    case tsql::RestoreFrom::kDevices:
      return statement_.plan_only ? ExplainDevices(request) : FromDevices(std::move(request));
    case tsql::RestoreFrom::kNothing:
      return Recover(request);
    case tsql::RestoreFrom::kNewest:
    case tsql::RestoreFrom::kCatalog:
      break;
  }
  return Chain(std::move(request));
}

// Paths as this machine knows them.
Result<engine::RestoreRequest> RestoreRun::Request() const {
  engine::RestoreRequest request = RestoreRequestOf(
      statement_, TransferRequestOf(statement_.devices, statement_.transfer, session_, text_));
  for (auto& [logical_name, path] : request.moves) {
    auto mapped = parts_.drives.Map(path);
    if (!mapped.ok()) {
      return SqlError(3156, logical_name, path).WithHint(std::string(mapped.status().hint()));
    }
    path = std::move(mapped).value();
  }
  return request;
}

ListMedium RestoreRun::Lister() const {
  return [&engine = parts_.engine](const engine::TransferRequest& medium) {
    return engine.List(medium);
  };
}

ChainMedia RestoreRun::MediaFor(const engine::RestoreRequest& request) const {
  transform::CertificateStore* const certificates = parts_.engine.parts().certificates;
  return ChainMedia({.list = Lister(),
                     .has_key =
                         [certificates](const std::string& thumbprint) {
                           return certificates != nullptr &&
                                  certificates->FindByThumbprint(thumbprint).ok();
                         },
                     .has_passphrase = request.passphrase.has_value()},
                    request.transfer);
}

// MOVE DATAFILES TO 'folder' needs to know the files, which are on the medium.
Status RestoreRun::FromDevices(engine::RestoreRequest request) {
  if (!statement_.data_folder.empty() || !statement_.log_folder.empty()) {
    engine::TransferRequest first = request.transfer;
    first.targets.resize(1);
    CAPSTAN_ASSIGN_OR_RETURN(const media::MediumListing listing, parts_.engine.List(first));
    for (const media::SetListing& set : listing.sets) {
      if (set.set.position == request.file_number) {
        CAPSTAN_RETURN_IF_ERROR(AddFolders(set.set, &request));
      }
    }
  }
  return parts_.record(CommandOf(request), [&](engine::JobObserver& observer) {
    return parts_.engine.Restore(request, observer);
  });
}

Status RestoreRun::AddFolders(const media::BackupSet& set, engine::RestoreRequest* request) const {
  CAPSTAN_ASSIGN_OR_RETURN(const std::string data, parts_.drives.Map(statement_.data_folder));
  CAPSTAN_ASSIGN_OR_RETURN(const std::string log, parts_.drives.Map(statement_.log_folder));
  AddFolderMoves(set, data, log, &request->moves);
  return OkStatus();
}

Status RestoreRun::ExplainDevices(const engine::RestoreRequest& request) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<catalog::KnownSet> sets,
                           FindSetsOnMedia(request.transfer, parts_.drives, Lister()));
  const auto set = std::find_if(sets.begin(), sets.end(), [&](const catalog::KnownSet& known) {
    return known.set.position == request.file_number;
  });
  if (set == sets.end()) {
    return SqlError(3287, request.file_number, request.transfer.targets.front());
  }
  engine::RestoreRequest moved = request;
  CAPSTAN_RETURN_IF_ERROR(AddFolders(set->set, &moved));
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<catalog::Database> existing, FindTarget());
  CAPSTAN_ASSIGN_OR_RETURN(
      const std::vector<writers::RestoreTarget> targets,
      engine::PlanTargets(moved, existing.has_value() ? &*existing : nullptr, set->set));
  ChainMedia media = MediaFor(request);
  ChainTable table(media, sets);
  table.Add(*set, targets);
  parts_.message(0, table.Summary());
  parts_.result(std::move(table).Take());
  return OkStatus();
}

Status RestoreRun::Recover(const engine::RestoreRequest& request) {
  if (statement_.plan_only) {
    CAPSTAN_ASSIGN_OR_RETURN(const catalog::Database database,
                             parts_.engine.parts().catalog.FindDatabase(request.database));
    const bool online = database.roll_forward.state == catalog::RollForward::State::kOnline;
    parts_.message(0, online ? fmt::format("'{}' is in use already", request.database)
                             : fmt::format("'{}' would be recovered at LSN {}", request.database,
                                           database.roll_forward.redo_lsn));
    return OkStatus();
  }
  const engine::RecoverRequest recover{.database = request.database,
                                       .end = request.end,
                                       .stop = request.stop,
                                       .session_id = request.transfer.session_id,
                                       .user_name = request.transfer.user_name,
                                       .statement = request.transfer.statement};
  return parts_.record(tsql::CommandName(statement_), [&](engine::JobObserver& observer) {
    return parts_.engine.Recover(recover, observer);
  });
}

ChainActions RestoreRun::Actions() const {
  ChainActions actions;
  actions.restore = [this](const engine::RestoreRequest& step) {
    return parts_.record(CommandOf(step), [&](engine::JobObserver& observer) {
      return parts_.engine.Restore(step, observer);
    });
  };
  actions.recover = [this](const engine::RecoverRequest& recover) {
    return parts_.record("RESTORE DATABASE", [&](engine::JobObserver& observer) {
      return parts_.engine.Recover(recover, observer);
    });
  };
  actions.database = [this] { return FindTarget(); };
  actions.message = parts_.message;
  return actions;
}

Result<std::optional<catalog::Database>> RestoreRun::FindTarget() const {
  auto database = parts_.engine.parts().catalog.FindDatabase(statement_.database);
  if (database.status().code() == Code::kNotFound) {
    return std::optional<catalog::Database>();
  }
  CAPSTAN_RETURN_IF_ERROR(std::as_const(database).status());
  return std::optional(*std::move(database));
}

std::string RestoreRun::Source() const {
  return statement_.source.empty() ? statement_.database : statement_.source;
}

Result<std::vector<catalog::KnownSet>> RestoreRun::SetsOf(
    const engine::RestoreRequest& request) const {
  const std::string source = Source();
  if (statement_.from == tsql::RestoreFrom::kCatalog) {
    return parts_.engine.parts().catalog.SetsOf(source);
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<catalog::KnownSet> sets,
                           FindSetsOnMedia(request.transfer, parts_.drives, Lister()));
  std::erase_if(sets,
                [&](const catalog::KnownSet& known) { return known.set.database_name != source; });
  return sets;
}

Status RestoreRun::Chain(engine::RestoreRequest request) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<catalog::KnownSet> sets, SetsOf(request));
  ChainMedia media = MediaFor(request);
  const ChainActions actions = Actions();
  ChainRestoreRequest chain{
      .source = Source(), .restore = std::move(request), .reach = ReachOf(statement_.reach)};
  CAPSTAN_ASSIGN_OR_RETURN(chain.data_folder, parts_.drives.Map(statement_.data_folder));
  CAPSTAN_ASSIGN_OR_RETURN(chain.log_folder, parts_.drives.Map(statement_.log_folder));
  ChainRestore restore(sets, media, actions);
  if (!statement_.plan_only) {
    return restore.Run(chain);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const catalog::Table table, restore.Explain(chain));
  parts_.result(table);
  return OkStatus();
}

}  // namespace capstan::coordinator
