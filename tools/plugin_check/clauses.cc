#include "tools/plugin_check/clauses.h"

namespace capstan::plugin_check {
namespace {

constexpr std::uint32_t kWrites = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE;
constexpr std::uint32_t kRecovers = kWrites | CAPSTAN_CAN_RECOVER;
constexpr std::uint32_t kUndoes = kWrites | CAPSTAN_CAN_UNDO;
constexpr std::uint32_t kAppends = kWrites | CAPSTAN_CAN_APPEND;
constexpr std::uint32_t kResumes = kRecovers | CAPSTAN_CAN_RESUME;
constexpr std::uint32_t kRandom = CAPSTAN_FEATURE_RANDOM_ACCESS;
constexpr std::uint32_t kMarks = CAPSTAN_FEATURE_FILE_MARKS;
constexpr std::uint32_t kPosition = CAPSTAN_FEATURE_POSITION;

// In the order of the report: a clause is understood when those above it are kept.
constexpr Clause kClauses[] = {
    {"describes-itself", "2, 3", "name, class, sizes, bits and functions are as version 1 has them",
     0, 0, 0, CheckDescription},
    {"refuses-unknown-option", "4", "an unknown key is an error with a message", 0, 0, 0,
     CheckUnknownOption},
    {"future-agent", "2", "structs of a later agent do no harm, and nothing is written behind them",
     kWrites, 0, 0, CheckFutureAgent},
    {"unknown-operation", "2", "an operation of later versions is E_UNSUPPORTED", kWrites, 0, 0,
     CheckUnknownOperation},
    {"copies-strings", "5", "target and token are not used after open has returned", kWrites, 0, 0,
     CheckStringsAreCopied},
    {"odd-names", "5, 6", "long and odd names do no harm", kWrites, 0, kMarks, CheckOddNames},
    {"failures-speak", "6, 17", "whatever fails says why, in UTF-8 and within the field", kWrites,
     0, 0, CheckFailuresSpeak},
    {"global-state", "8", "signals, directory, umask, locale and environment stay, no process runs",
     kWrites, 0, 0, CheckGlobalState},
    {"signals-blocked", "8", "threads of the plugin block signals", kWrites, 0, 0,
     CheckSignalsBlocked},
    {"no-idle-threads", "9", "no thread before the first open, none after the last close", kWrites,
     0, 0, CheckThreads},
    {"nothing-accumulates", "9", "50 discarded devices leave no descriptor, thread or memory",
     kWrites, 0, 0, CheckNothingAccumulates},
    {"reads-stay-inside", "10", "a READ changes nothing outside the bytes it was asked for",
     kWrites, 0, 0, CheckReadStaysInside},
    {"write-buffer-unchanged", "10", "the buffer of a WRITE is never written to", kWrites, 0, 0,
     CheckWriteBufferUntouched},
    {"buffer-after-completion", "10", "no buffer is touched after its completion", kWrites, 0, 0,
     CheckBufferAfterCompletion},
    {"completes-once", "11", "each accepted request is completed once, a refused one never",
     kWrites, 0, 0, CheckCompletesOnce},
    {"completes-in-time", "11", "16 requests in flight are all accepted at once and completed",
     kWrites, 0, 0, CheckCompletesInTime},
    {"whole-transfers", "12", "transfers of 512 bytes to 4 MiB move all, and say so", kWrites, 0, 0,
     CheckWholeTransfers},
    {"end-of-medium", "12", "a READ at the end gives E_END and the bytes in front of it", kWrites,
     kRandom, 0, CheckEndOfMedium},
    {"scattered-writes", "13", "WRITEs out of order land where they say", kWrites, kRandom, 0,
     CheckScatteredWrites},
    {"order-of-submit", "13", "WRITEs in flight take effect in the order of submit", kWrites, 0,
     kRandom, CheckOrderOfSubmit},
    {"far-position", "10", "positions beyond 4 GiB are not cut off", kWrites, kRandom, 0,
     CheckFarPosition},
    {"flushed-survives-kill", "15, 20", "what FLUSH confirmed is there after SIGKILL and recover()",
     kRecovers, 0, 0, CheckFlushedSurvives},
    {"flush-reaches-disk", "15", "FLUSH leaves nothing of the files in the page cache only",
     kWrites, 0, 0, CheckFlushReachesDisk},
    {"completed-survives-kill", "16", "what COMPLETE confirmed is whole after SIGKILL", kWrites, 0,
     0, CheckCompletedSurvives},
    {"complete-reaches-disk", "16", "COMPLETE leaves nothing of the files in the page cache only",
     kWrites, 0, 0, CheckCompleteReachesDisk},
    {"hidden-until-complete", "16", "nobody sees a new medium before COMPLETE", kUndoes, 0, kMarks,
     CheckUnfinishedIsHidden},
    {"replace-keeps-old", "16, 25", "REPLACE leaves the old medium until COMPLETE", kUndoes, 0, 0,
     CheckReplaceKeepsOld},
    {"discard-keeps-old", "18", "close(DISCARD) leaves the old medium as it was", kUndoes, 0, 0,
     CheckDiscardKeepsOld},
    {"discard-leaves-nothing", "18", "close(DISCARD) removes what was begun", kUndoes, 0, kMarks,
     CheckDiscardLeavesNothing},
    {"discard-after-complete", "18", "close(DISCARD) removes a new medium after COMPLETE, too",
     kUndoes, 0, kMarks, CheckDiscardAfterComplete},
    {"close-gives-up", "19", "close with requests in flight completes them within 5 s", kWrites, 0,
     0, CheckCloseGivesUp},
    {"kept-is-committed", "20", "recover(COMMIT) finishes in another process, and again", kRecovers,
     0, 0, CheckKeptIsCommitted},
    {"kept-is-discarded", "20", "recover(DISCARD) undoes in another process, and again",
     kRecovers | CAPSTAN_CAN_UNDO, 0, 0, CheckKeptIsDiscarded},
    {"recover-of-nothing", "20", "recover() of an unknown token: COMMIT fails, DISCARD is fine",
     kRecovers | CAPSTAN_CAN_UNDO, 0, 0, CheckRecoverOfNothing},
    {"second-writer", "21", "a medium that is being written is EBUSY for another writer", kWrites,
     0, 0, CheckSecondWriter},
    {"missing-medium", "open, stat", "a medium that is not there is ENOENT, to stat: 0", kWrites, 0,
     kMarks, CheckMissingMedium},
    {"create-refuses-taken-name", "open", "CREATE of a name that is taken is EEXIST", kWrites, 0, 0,
     CheckTakenName},
    {"stat-and-remove", "stat, remove", "size and time are right, and remove removes",
     kWrites | CAPSTAN_CAN_REMOVE, 0, kMarks, CheckStatAndRemove},
    {"device-status", "device_status", "its texts end within their fields", kWrites, 0, 0,
     CheckDeviceStatus},
    {"append-counts-from-complete", "open", "what is appended is seen from COMPLETE on", kAppends,
     0, kMarks, CheckAppendCounts},
    {"append-discard", "18", "a discarded appending leaves the medium as it was", kAppends, 0,
     kMarks, CheckAppendDiscard},
    {"append-below-end", "open", "what was there before an appending never changes", kAppends,
     kRandom, 0, CheckAppendBelowEnd},
    {"append-finds-end", "13, 22", "SET_POSITION from the end says where that is", kAppends,
     kRandom, 0, CheckAppendFindsEnd},
    {"append-kept", "20", "a kept appending is committed in another process",
     kAppends | CAPSTAN_CAN_RECOVER, 0, kMarks, CheckAppendKept},
    {"resume-goes-on", "open, 15", "what was flushed before a SIGKILL is read and gone on with",
     kResumes, 0, 0, CheckResumeGoesOn},
    {"resume-ends-medium", "open",
     "what lies behind the highest WRITE goes, in recover(COMMIT), too", kResumes, 0, 0,
     CheckResumeEndsMedium},
    {"resume-of-nothing", "open", "what a token has not begun, or has ended, is ENOENT", kResumes,
     0, 0, CheckResumeOfNothing},
    {"resume-second-writer", "21", "what is being written is EBUSY for who would go on with it",
     kResumes, 0, 0, CheckResumeSecondWriter},
    {"filemarks", "22", "a READ ends at a filemark and stands behind it", kWrites, kMarks, 0,
     CheckFileMarks},
    {"medium-positions", "22", "SET_POSITION goes where GET_POSITION was", kWrites,
     kMarks | kPosition, 0, CheckMediumPositions},
    {"writing-ends-the-medium", "22", "what is written ends the medium behind it", kWrites, kMarks,
     0, CheckWritingEnds},
    {kNeverPrints, "8", "nothing comes out on standard output or error", 0, 0, 0, nullptr},
};

}  // namespace

std::span<const Clause> Clauses() {
  return kClauses;
}

}  // namespace capstan::plugin_check
