// The clauses: every promise that is judged, with the rule of plugin.h that makes it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tools/plugin_check/case.h"

namespace capstan::plugin_check {

struct Clause {
  std::string_view name;           // as --only takes it
  std::string_view rule;           // of plugin.h
  std::string_view what;           // that must be true
  std::uint32_t capabilities = 0;  // all of them announced, or the clause is skipped
  std::uint32_t features = 0;
  std::uint32_t features_without = 0;  // none of them announced, or it is skipped
  // Returns if the promise was kept. Null: judged by the runner from all the others.
  void (*check)(Case& test) = nullptr;
};

std::span<const Clause> Clauses();

// Judged from what all the other checks have printed.
inline constexpr std::string_view kNeverPrints = "never-prints";

// check_loading.cc
void CheckDescription(Case& test);
void CheckFutureAgent(Case& test);
void CheckUnknownOperation(Case& test);
void CheckUnknownOption(Case& test);
// check_requests.cc
void CheckCompletesOnce(Case& test);
void CheckCompletesInTime(Case& test);
void CheckWholeTransfers(Case& test);
void CheckEndOfMedium(Case& test);
void CheckScatteredWrites(Case& test);
void CheckOrderOfSubmit(Case& test);
void CheckFarPosition(Case& test);
// check_buffers.cc
void CheckReadStaysInside(Case& test);
void CheckWriteBufferUntouched(Case& test);
void CheckBufferAfterCompletion(Case& test);
void CheckStringsAreCopied(Case& test);
void CheckOddNames(Case& test);
// check_media.cc
void CheckMissingMedium(Case& test);
void CheckTakenName(Case& test);
void CheckFailuresSpeak(Case& test);
void CheckSecondWriter(Case& test);
void CheckUnfinishedIsHidden(Case& test);
void CheckReplaceKeepsOld(Case& test);
void CheckStatAndRemove(Case& test);
// check_durability.cc
void CheckFlushedSurvives(Case& test);
void CheckCompletedSurvives(Case& test);
void CheckFlushReachesDisk(Case& test);
void CheckCompleteReachesDisk(Case& test);
void CheckKeptIsCommitted(Case& test);
void CheckKeptIsDiscarded(Case& test);
void CheckRecoverOfNothing(Case& test);
// check_ending.cc
void CheckDiscardKeepsOld(Case& test);
void CheckDiscardLeavesNothing(Case& test);
void CheckDiscardAfterComplete(Case& test);
void CheckCloseGivesUp(Case& test);
void CheckNothingAccumulates(Case& test);
// check_conduct.cc
void CheckThreads(Case& test);
void CheckSignalsBlocked(Case& test);
void CheckGlobalState(Case& test);
void CheckDeviceStatus(Case& test);
// check_append.cc
void CheckAppendCounts(Case& test);
void CheckAppendDiscard(Case& test);
void CheckAppendKept(Case& test);
void CheckAppendBelowEnd(Case& test);
void CheckAppendFindsEnd(Case& test);
// check_resume.cc
void CheckResumeGoesOn(Case& test);
void CheckResumeEndsMedium(Case& test);
void CheckResumeOfNothing(Case& test);
void CheckResumeSecondWriter(Case& test);
// check_sequential.cc
void CheckFileMarks(Case& test);
void CheckMediumPositions(Case& test);
void CheckWritingEnds(Case& test);

}  // namespace capstan::plugin_check
