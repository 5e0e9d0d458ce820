-- Checksums of files without a manifest, and the archives that can be downloaded.
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
