-- Accounts and their sessions, the job history, and settings.
CREATE TABLE accounts (
         id INTEGER PRIMARY KEY,
         username TEXT NOT NULL UNIQUE,
         password_hash TEXT NOT NULL,
         created INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE sessions (
         token_hash BLOB PRIMARY KEY,
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         created INTEGER NOT NULL,
         last_seen INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE jobs (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         database TEXT NOT NULL,
         started INTEGER NOT NULL,
         ended INTEGER,
         state TEXT NOT NULL
     ) STRICT;
     CREATE TABLE settings (
         key TEXT PRIMARY KEY,
         value TEXT NOT NULL
     ) STRICT;
