-- Roles, two-factor login with recovery codes, session details, and API tokens.
ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
     ALTER TABLE accounts ADD COLUMN download INTEGER NOT NULL DEFAULT 1;
     ALTER TABLE accounts ADD COLUMN totp TEXT;
     ALTER TABLE accounts ADD COLUMN totp_offered TEXT;
     ALTER TABLE accounts ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE sessions ADD COLUMN proved INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
     ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
     CREATE TABLE recovery_codes (
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         code_hash BLOB NOT NULL,
         PRIMARY KEY (account, code_hash)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE api_tokens (
         id INTEGER PRIMARY KEY,
         token_hash BLOB NOT NULL UNIQUE,
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         label TEXT NOT NULL,
         scope TEXT NOT NULL,
         created INTEGER NOT NULL,
         expires INTEGER,
         last_used INTEGER
     ) STRICT;
