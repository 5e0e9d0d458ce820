-- The state database as Holdfast made it before copies were kept by destination (schema 6).
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created INTEGER NOT NULL
    , role TEXT NOT NULL DEFAULT 'admin', download INTEGER NOT NULL DEFAULT 1, totp TEXT, totp_offered TEXT, totp_step INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
    , proved INTEGER NOT NULL DEFAULT 0, address TEXT NOT NULL DEFAULT '', agent TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    state TEXT NOT NULL
    , task TEXT NOT NULL DEFAULT 'create', who TEXT, came_from TEXT, request TEXT, object TEXT) STRICT;
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
    ) STRICT;
CREATE TABLE digests (
    file TEXT PRIMARY KEY,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    sha256 TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
CREATE TABLE archives (
    id TEXT PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    format TEXT NOT NULL,
    created INTEGER NOT NULL,
    entries TEXT NOT NULL,
    missing TEXT NOT NULL
    ) STRICT;
CREATE TABLE off_site (
    file TEXT PRIMARY KEY,
    state TEXT NOT NULL
    ) STRICT;
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
PRAGMA user_version = 6;
