"""SQL Server's media, read and made by programs that share no code with the server."""
