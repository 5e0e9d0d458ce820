// Real backups of several months, made at once: growing SQLite databases, compressed as Holdfast does.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32, gzipSync } from 'node:zlib';
import { shownTime } from './seed';

/** How many days ago. */
export type Day = number;

/** Kilobytes of each database today, and the time of day (UTC) at which it is backed up. */
const DATABASES = [
  { name: 'ledger', kilobytes: 6_900, at: [2, 15, 4] },
  { name: 'shop', kilobytes: 2_700, at: [2, 30, 1] },
] as const;

/** The generated backups. */
export interface History {
  /** The backups, oldest first. */
  names: string[];
  newest: string;
  /** Changes some bytes in the middle of one of them, as a failing disk does. */
  damage(index: number): void;
}

/** Fills `directory` with a backup of each database for each day. */
export function makeHistory(directory: string, days: Day[]): History {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-history-'));
  const midnight = new Date().setUTCHours(0, 0, 0, 0);
  const made = days.flatMap((day) =>
    DATABASES.map(({ name, kilobytes, at: [hour, minute, second] }) => {
      const created = new Date(midnight - day * 86_400_000 + hour * 3_600_000 + minute * 60_000 + (second + (day % 5)) * 1_000);
      // The database grows by a seventh in a hundred days, by a different amount each day.
      const size = Math.round(kilobytes * (1 - day / 700 + ((day * 7) % 5) / 1_000));
      const file = `backup_${name}_${shownTime(created).replace(' ', '_').replaceAll(':', '-')}Z.dump.gz`;
      lay(directory, file, name, created, databaseOf(path.join(work, 'd.db'), size));
      return { file, created };
    }),
  );
  fs.rmSync(work, { recursive: true });
  const names = made.sort((a, b) => a.created.getTime() - b.created.getTime()).map(({ file }) => file);
  return {
    names,
    newest: names.at(-1) ?? '',
    damage(index) {
      const file = path.join(directory, names[index]);
      const { atime, mtime, size } = fs.statSync(file);
      const open = fs.openSync(file, 'r+');
      fs.writeSync(open, Buffer.alloc(64), 0, 64, Math.floor(size / 2));
      fs.closeSync(open);
      fs.utimesSync(file, atime, mtime);
    },
  };
}

/** A SQLite database with about that many kilobytes of random text. */
function databaseOf(file: string, kilobytes: number): Buffer {
  fs.rmSync(file, { force: true });
  const sql = `CREATE TABLE entries (id INTEGER PRIMARY KEY, text TEXT);
    WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ${Math.ceil(kilobytes / 4)})
      INSERT INTO entries (text) SELECT hex(randomblob(4000)) FROM n;`;
  execFileSync('sqlite3', ['-batch', '-bail', file], { input: sql, stdio: ['pipe', 'ignore', 'inherit'] });
  return fs.readFileSync(file);
}

function lay(directory: string, file: string, database: string, created: Date, content: Buffer): void {
  const payload = gzipSync(content, { level: 1 });
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  const manifest = {
    manifest_version: 1,
    file,
    created_at: created.toISOString(),
    database,
    database_engine: 'sqlite',
    backup_format: 'sqlite-database',
    payload_size: payload.length,
    payload_sha256: sha256(payload),
    payload_crc32: crc32(payload).toString(16).padStart(8, '0'),
    content_size: content.length,
    content_sha256: sha256(content),
    created_by: 'scripts/screenshots',
  };
  fs.writeFileSync(path.join(directory, `${file}.manifest.json`), JSON.stringify(manifest));
  const draft = path.join(directory, `draft-of-${file}`);
  fs.writeFileSync(draft, payload);
  const modified = new Date(created.getTime() + 1_000 + payload.length / 5_000);
  fs.utimesSync(draft, modified, modified);
  fs.renameSync(draft, path.join(directory, file));
}
