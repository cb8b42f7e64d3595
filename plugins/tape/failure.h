// Failure of plugins/edge/, and what is made of it, as this plugin's own.
#pragma once

#include "plugins/edge/failure.h"

namespace capstan::tape {

using edge::Failure;
using edge::FillError;

}  // namespace capstan::tape
