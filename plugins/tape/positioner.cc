#include "plugins/tape/positioner.h"

#include <algorithm>
#include <cerrno>

namespace capstan::tape {
namespace {

Answer Lost() {
  return {.outcome = Outcome::kHardwareError,
          .failure = {.os_error = EIO,
                      .message = "an error has left the drive at an unknown place of the tape",
                      .hint = "rewind the tape before anything else"}};
}

}  // namespace

void Positioner::AtBeginning() {
  object_ = 0;
  marks_.clear();
  known_end_ = 0;
}

void Positioner::Lose() {
  object_.reset();
}

void Positioner::PassBlock() {
  if (object_) {
    MoveTo(*object_ + 1);
  }
}

void Positioner::PassMark() {
  if (!object_) {
    return;
  }
  if (counts() && *object_ == known_end_) {
    marks_.push_back(*object_);
  }
  MoveTo(*object_ + 1);
}

void Positioner::Cut() {
  if (object_ && known_end_ > *object_) {
    known_end_ = *object_;
    marks_.resize(MarksBefore(*object_));
  }
}

std::size_t Positioner::MarksBefore(std::uint64_t object) const {
  return static_cast<std::size_t>(std::lower_bound(marks_.begin(), marks_.end(), object) -
                                  marks_.begin());
}

void Positioner::MoveTo(std::uint64_t object) {
  object_ = object;
  known_end_ = std::max(known_end_, object);
}

Answer Positioner::Rewind() {
  Answer answer = drive_.Rewind();
  if (answer.done()) {
    object_ = 0;
  }
  return answer;
}

Answer Positioner::SkipMarks(std::int64_t count) {
  if (counts()) {
    return count >= 0 ? CountMarksForward(count) : CountMarksBackward(-count);
  }
  object_.reset();
  return drive_.SpaceFilemarks(count);
}

Answer Positioner::SkipBlocks(std::int64_t count) {
  if (!counts()) {
    object_.reset();
    return drive_.SpaceBlocks(count);
  }
  for (; count != 0; count -= count > 0 ? 1 : -1) {
    Answer answer = count > 0 ? Step() : StepBack();
    if (!answer.done()) {
      return answer;
    }
  }
  return {};
}

Answer Positioner::GoTo(std::uint64_t object) {
  if (counts()) {
    return CountTo(object);
  }
  if (object_ == object) {
    return {};
  }
  Answer answer = drive_.Locate(object);
  object_ = answer.done() ? std::optional(object) : std::nullopt;
  return answer;
}

Answer Positioner::GoToEnd() {
  if (!counts()) {
    object_.reset();
    return drive_.SpaceToEndOfData();
  }
  Answer answer;
  if (object_ && *object_ < known_end_) {
    answer = CountTo(known_end_);
  }
  while (answer.done() || answer.outcome == Outcome::kFilemark) {
    answer = Step();
  }
  return answer.outcome == Outcome::kEndOfData ? Answer() : answer;
}

Answer Positioner::Get(std::uint64_t* object) {
  if (!object_) {
    std::uint64_t told = 0;
    Answer answer = counts() ? Lost() : drive_.Position(&told);
    if (!answer.done()) {
      return answer;
    }
    object_ = told;
  }
  *object = *object_;
  return {};
}

// One block or filemark forward.
Answer Positioner::Step() {
  if (!object_) {
    return Lost();
  }
  Answer answer = drive_.SpaceBlocks(1);
  if (answer.done()) {
    PassBlock();
  } else if (answer.outcome == Outcome::kFilemark) {
    PassMark();
  } else if (answer.outcome != Outcome::kEndOfData) {
    Lose();
  }
  return answer;
}

Answer Positioner::StepBack() {
  if (!object_) {
    return Lost();
  }
  Answer answer = drive_.SpaceBlocks(-1);
  if (answer.done() || answer.outcome == Outcome::kFilemark) {
    --*object_;
  } else if (answer.outcome != Outcome::kBeginning) {
    Lose();
  }
  return answer;
}

Answer Positioner::CountMarksForward(std::int64_t count) {
  if (!object_) {
    return Lost();
  }
  const std::size_t before = MarksBefore(*object_);
  const auto known = std::min<std::int64_t>(
      count, static_cast<std::int64_t>(marks_.size()) - static_cast<std::int64_t>(before));
  if (known > 0) {
    Answer answer = drive_.SpaceFilemarks(known);
    if (!answer.done()) {
      Lose();
      return answer;
    }
    object_ = marks_[before + static_cast<std::size_t>(known) - 1] + 1;
  }
  for (std::int64_t left = count - known; left > 0;) {
    Answer answer = Step();
    if (answer.outcome == Outcome::kFilemark) {
      --left;
    } else if (!answer.done()) {
      return answer;
    }
  }
  return {};
}

Answer Positioner::CountMarksBackward(std::int64_t count) {
  if (!object_) {
    return Lost();
  }
  const std::size_t before = MarksBefore(*object_);
  if (static_cast<std::size_t>(count) > before) {
    Answer answer = Rewind();
    return answer.done() ? Answer{.outcome = Outcome::kBeginning} : answer;
  }
  Answer answer = drive_.SpaceFilemarks(-count);
  if (answer.done()) {
    object_ = marks_[before - static_cast<std::size_t>(count)];
  } else {
    Lose();
  }
  return answer;
}

Answer Positioner::CountTo(std::uint64_t object) {
  Answer answer;
  if (!object_ || object < *object_) {
    answer = Rewind();
  }
  if (answer.done() && MarksBefore(object) > MarksBefore(*object_)) {
    answer =
        CountMarksForward(static_cast<std::int64_t>(MarksBefore(object) - MarksBefore(*object_)));
  }
  // Between filemarks that are known there are blocks only.
  if (const std::uint64_t near = std::min(object, known_end_); answer.done() && near > *object_) {
    answer = drive_.SpaceBlocks(static_cast<std::int64_t>(near - *object_));
    if (answer.done()) {
      object_ = near;
    } else {
      Lose();
    }
  }
  while ((answer.done() || answer.outcome == Outcome::kFilemark) && *object_ < object) {
    answer = Step();
  }
  return answer.outcome == Outcome::kFilemark ? Answer() : answer;
}

}  // namespace capstan::tape
