"""What several media say of each other: media of a family, families of a media set."""

from __future__ import annotations

from dataclasses import dataclass, field

from mtfdump.medium import Medium
from mtfdump.records import SetCopy


@dataclass(slots=True)
class BackupSet:
    """A set of Capstan's over all media given: per family its parts in the order of the media."""

    guid: str
    parts: dict[int, list[tuple[Medium, SetCopy]]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def copies(self) -> list[tuple[Medium, SetCopy]]:
        return [part for parts in self.parts.values() for part in parts]

    @property
    def last(self) -> SetCopy:
        """A part with the final descriptor, if there is one."""
        return next((copy for _, copy in self.copies if copy.final), self.copies[0][1])


def collect(media: list[Medium]) -> list[BackupSet]:
    """The sets of all media. Of mirrors, which hold the same, the first one given counts."""
    sets: dict[str, BackupSet] = {}
    for medium in sorted(media, key=lambda medium: medium.sequence):
        family = medium.media_set.family if medium.media_set else 1
        for copy in medium.sets:
            if not copy.is_own or not copy.guid:
                continue
            parts = sets.setdefault(copy.guid, BackupSet(copy.guid)).parts.setdefault(family, [])
            if all(other.sequence != medium.sequence for other, _ in parts):
                parts.append((medium, copy))
    return sorted(sets.values(), key=lambda item: (item.last.number, item.guid))


def check(sets: list[BackupSet]) -> None:
    """Adds to the media's damages what does not fit together, and to the sets what is missing."""
    for item in sets:
        for number in sorted(item.parts):
            _check_family(item, number, item.parts[number])
        _name_absent(item)
        if not any(medium.damages for medium, _ in item.copies):
            _check_set(item)


def _check_family(item: BackupSet, number: int, parts: list[tuple[Medium, SetCopy]]) -> None:
    """Each medium goes on where the one before it ended (section 4)."""
    if parts[0][1].is_continued:
        item.missing.append(f"family {number}: media before number {parts[0][0].sequence}")
    is_sound = not any(medium.damages for medium, _ in parts)
    for (before, _), (medium, copy) in zip(parts, parts[1:]):
        if medium.sequence != before.sequence + 1:
            item.missing.append(f"family {number}: media {before.sequence + 1} to "
                                f"{medium.sequence - 1}")
        elif is_sound and (before.ended is None or medium.continues is None or (
                before.family_id, before.ended.frames, before.ended.payload_bytes,
                before.ended.digest) != (medium.family_id, medium.continues.frames,
                                         medium.continues.payload_bytes,
                                         medium.continues.digest)):
            _blame(medium, copy, f"it does not continue {before.image.path}")
    if parts[-1][0].ended is not None:
        item.missing.append(f"family {number}: media behind number {parts[-1][0].sequence}")
    elif is_sound and [medium.sequence for medium, _ in parts] == list(range(1, len(parts) + 1)):
        _check_index(parts)


def _check_index(parts: list[tuple[Medium, SetCopy]]) -> None:
    """The index at the end, against the frames of the media before; and their FLAs."""
    medium, last = parts[-1]
    number = taken = 0
    for _, copy in parts:
        if copy.fla * medium.flb != taken:
            _blame(medium, copy, f"FLA {copy.fla}, but {taken} bytes of frames before it")
        size = 32 if last.packing else 24
        for frame in copy.frames:
            offset, coded = (int.from_bytes(last.index[number * size + at:number * size + at + 8],
                                            "little") for at in (0, 8))
            if (offset, coded) != (frame.file_offset, frame.sequence << 24 | frame.stored):
                _blame(medium, last, f"CPIX: entry {number} is not of the frame on an earlier "
                                     f"medium")
                return
            number += 1
            taken += frame.size


def _name_absent(item: BackupSet) -> None:
    header = item.copies[0][0].media_set
    total = header.families if header else 1
    absent = [str(number) for number in range(1, total + 1) if number not in item.parts]
    if absent:
        item.missing.append(f"families {', '.join(absent)} of {total}")


def _check_set(item: BackupSet) -> None:
    """Families agree about each other, and no sequence number comes twice."""
    reference_medium, reference = item.copies[0]
    for medium, copy in item.copies:
        if (medium.media_set and reference_medium.media_set and medium.media_set.media_set_id
                != reference_medium.media_set.media_set_id):
            _blame(medium, copy, "its set is of another media set")
        if copy.families and item.last.families and copy.families != item.last.families:
            _blame(medium, copy, "CPFS: other families hold something else")
    seen: set[int] = set()
    for medium, copy in item.copies:
        for frame in copy.frames:
            if frame.sequence in seen:
                _blame(medium, copy, f"frame sequence {frame.sequence} comes twice")
            seen.add(frame.sequence)
    length = sum(frame.length for _, copy in item.copies for frame in copy.frames)
    final = item.last.descriptor
    if item.last.families and not item.missing and length != final.backup_size_bytes:
        _blame(reference_medium, reference, f"the frames hold {length} bytes of the database, the "
                                            f"descriptor says {final.backup_size_bytes}")


def _blame(medium: Medium, copy: SetCopy, what: str) -> None:
    medium.damages.append(medium.image.damage(copy.offset, f"set {copy.number}: {what}"))
