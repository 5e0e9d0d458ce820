// SQLite files for Holdfast to back up.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Makes a small database. */
export function makeSqlite(file: string): void {
  run(file, "CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT); INSERT INTO orders (what) VALUES ('rope'), ('anchor');");
}

/** Makes a database of about `megabytes`, of text that takes a compressor its time. */
export function makeBigSqlite(file: string, megabytes: number): void {
  // What repeats after a megabyte is new to gzip, whose window is 32 KB; making it all new would take long.
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

/** Keeps everybody else from reading a database, as a program does that writes there; gives what lets go of it. */
export async function lockSqlite(file: string): Promise<() => void> {
  const holder = spawn('sqlite3', ['-batch', '-bail', file], { stdio: ['pipe', 'pipe', 'inherit'] });
  // What it prints itself waits in a buffer; what a shell prints does not.
  holder.stdin.write('BEGIN EXCLUSIVE;\n.shell echo locked\n');
  await once(holder.stdout, 'data');
  return () => holder.stdin.end();
}

function run(file: string, sql: string): void {
  execFileSync('sqlite3', ['-batch', '-bail', file], { input: sql, stdio: ['pipe', 'ignore', 'inherit'] });
}
