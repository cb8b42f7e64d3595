// What -? prints.
#pragma once

#include <string_view>

namespace capstan::sqlcmd {

inline constexpr std::string_view kUsage =
    R"(Capstan command line tool in the manner of sqlcmd

usage: sqlcmd          [-U login id]          [-P password]
  [-S server]          [-E trusted connection][-d use database name]
  [-l login timeout]   [-t query timeout]     [-e echo input]
  [-q "cmdline query"] [-Q "cmdline query" and exit]
  [-i inputfile]       [-o outputfile]        [-v var = "value"...]
  [-x disable variable substitution]          [-b On error batch abort]
  [-V severitylevel]   [-m errorlevel]        [-r[0|1] msgs to stderr]
  [-h headers]         [-s colseparator]      [-w screen width]
  [-W remove trailing spaces]
  [-y variable length type display width]
  [-Y fixed length type display width]
  [-? show syntax summary]
Taken and without effect: -A -C -H -I -K -M -N -R -X -a -d -g -j -k

Server: . (local) localhost = CAPSTAN_SERVER, else unix:/run/capstan/capstand.sock;
  unix:PATH; HOST,PORT
Environment: SQLCMDSERVER SQLCMDUSER SQLCMDPASSWORD CAPSTAN_SERVER CAPSTAN_USER CAPSTAN_PASSWORD
Batches end at GO [count]. Commands: QUIT, EXIT, EXIT(), RESET, :r FILE, :setvar NAME VALUE,
  :on error exit|ignore
Exit status: 0; 1 for a wrong command line, no server or a refused login, and, with -b, for a
  failed batch
)";

}  // namespace capstan::sqlcmd
