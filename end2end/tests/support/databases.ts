// SQLite files for Holdfast to back up.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Makes a small database. */
export function makeSqlite(file: string): void {
  run(file, "CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT); INSERT INTO orders (what) VALUES ('rope'), ('anchor');");
}

/** Creates a database of about `megabytes` of text that compresses slowly. */
export function makeBigSqlite(file: string, megabytes: number): void {
  // Text that repeats after a megabyte is new to gzip, whose window is 32 KB. Generating only new text would be slow.
  run(
    file,
    `PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
     CREATE TABLE heavy (text TEXT);
     CREATE TEMP TABLE seeds AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 4)
       SELECT hex(randomblob(500000)) AS text FROM n;
     WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ${megabytes} / 4)
       INSERT INTO heavy SELECT text FROM n, seeds;`,
  );
}

/** Locks a database exclusively, as a writing program does. Returns the function that releases the lock. */
export async function lockSqlite(file: string): Promise<() => void> {
  const holder = spawn('sqlite3', ['-batch', '-bail', file], { stdio: ['pipe', 'pipe', 'inherit'] });
  // sqlite3 buffers its own output; the output of a shell command is not buffered.
  holder.stdin.write('BEGIN EXCLUSIVE;\n.shell echo locked\n');
  await once(holder.stdout, 'data');
  return () => holder.stdin.end();
}

function run(file: string, sql: string): void {
  execFileSync('sqlite3', ['-batch', '-bail', file], { input: sql, stdio: ['pipe', 'ignore', 'inherit'] });
}
