// One function per kind of statement, for the dispatch in parser.cc. Each starts at the statement's
// first word, takes the statement, and leaves what follows it, semicolon included, to the dispatch.
// Errors carry SQL Server's number; TokenStream remembers the line.
#pragma once

#include "server/tsql/statement.h"
#include "server/tsql/token_stream.h"

namespace capstan::tsql {

Result<StatementBody> ParseBackup(TokenStream& tokens);
Result<StatementBody> ParseRestore(TokenStream& tokens);

// EXEC[UTE] procedure, or a bare procedure name, which T-SQL allows at the start of a batch.
Result<StatementBody> ParseProcedureCall(TokenStream& tokens);

// CREATE LOGIN, ALTER LOGIN, DROP LOGIN.
Result<StatementBody> ParseLogin(TokenStream& tokens);

// CREATE CREDENTIAL, ALTER CREDENTIAL, DROP CREDENTIAL.
Result<StatementBody> ParseCredential(TokenStream& tokens);

// From the word CERTIFICATE on, which CREATE, BACKUP or DROP stands before; kImport is found out
// here.
Result<StatementBody> ParseCertificate(TokenStream& tokens, CertificateAction action);

// ALTER DATABASE name SET ..., DROP DATABASE name.
Result<StatementBody> ParseDatabase(TokenStream& tokens);

// SELECT ..., or WITH name AS (SELECT ...) SELECT ...
Result<StatementBody> ParseSelect(TokenStream& tokens);

}  // namespace capstan::tsql
