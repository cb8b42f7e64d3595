#include "plugins/tape/cartridge_memory.h"

#include <sstream>

namespace capstan::tape {

std::string FormatNote(const CartridgeNote& note) {
  std::ostringstream text;
  text << note.family << ' ' << note.sequence << ' ' << note.used_unix_s << ' ' << note.token << ' '
       << note.drive;
  return text.str();
}

CartridgeNote ParseNote(const std::string& text) {
  std::istringstream stream(text);
  CartridgeNote note;
  stream >> note.family >> note.sequence >> note.used_unix_s >> note.token;
  stream.ignore(1);
  std::getline(stream, note.drive);
  return stream.bad() || note.drive.empty() ? CartridgeNote() : note;
}

}  // namespace capstan::tape
