// Hand-made backup files with known properties.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';

export interface Seed {
  name: string;
  /** Undefined if neither the name nor a manifest names it. */
  database?: string;
  created: Date;
  modified: Date;
  size: number;
  state: 'whole' | 'no manifest' | 'empty' | 'size differs' | 'unreadable manifest';
}

/** `YYYY-MM-DD HH:MM:SS`, UTC, as the page writes times. */
export const shownTime = (time: Date): string => time.toISOString().slice(0, 19).replace('T', ' ');

const inName = (time: Date): string => shownTime(time).replace(' ', '_').replaceAll(':', '-');

/** Whole seconds, the finest unit that file names and every file system have. */
const at = (text: string): Date => new Date(`${text}Z`);

/**
 * 57 backups of two databases. Sorting by name, time or size gives a different order each, and the sizes (some differ
 * by bytes, some by megabytes) would be in the wrong order if they were sorted as text.
 */
export function fiftySeven(): Seed[] {
  const made = Array.from({ length: 50 }, (_, i): Seed => {
    const database = i % 2 === 0 ? 'ledger' : 'shop';
    const created = new Date(Date.UTC(2025, 8, 1 + ((i * 7) % 50), (i * 5) % 24, (i * 11) % 60, (i * 13) % 60));
    return {
      name: `backup_${database}_${inName(created)}Z.dump.gz`,
      database,
      created,
      // Copied later, in another order than they were made.
      modified: new Date(Date.UTC(2025, 10, 1 + ((i * 3) % 20), (i * 17) % 24, i)),
      size: [9, 10, 100, 999, 1_000, 1_024, 9_999, 10_000, 950_000, 1_100_000][i % 10] + i + i * 1_003 * (i % 3),
      state: 'whole',
    };
  });
  made[48].state = 'size differs';
  made[49].state = 'no manifest';
  return [
    ...made,
    old('2025-06-30_23-59-59', 50_123, 'no manifest', at('2025-06-30T23:59:59'), at('2025-12-01T10:00:00')),
    old('2025-07-01_00-00-00', 2_500, 'no manifest', at('2025-07-01T00:00:00'), at('2024-01-01T00:00:00')),
    old('2024-02-29_12-00-00', 2_000_000, 'no manifest', at('2024-02-29T12:00:00'), at('2025-12-01T09:00:00')),
    old('2025-07-01_00-00-00.retry', 77, 'no manifest', at('2025-07-02T08:00:00')),
    old('before-the-move', 30_000, 'no manifest', at('2025-01-02T03:04:05')),
    old('2025-08-01_01-02-03', 0, 'empty', at('2025-08-01T01:02:03')),
    old('2025-09-09_09-09-09', 640, 'unreadable manifest', at('2025-09-09T09:09:09')),
  ];
}

/**
 * A file from before Holdfast, without a database in its name. Its creation time is the time in its name, otherwise its
 * modified time.
 */
function old(middle: string, size: number, state: Seed['state'], created: Date, modified = created): Seed {
  return { name: `backup_${middle}.dump.gz`, created, modified, size, state };
}

/** Puts one backup into `directory`. The file appears there only when it is complete. */
export function lay(directory: string, seed: Seed): void {
  const draft = path.join(directory, `draft-of-${seed.name}`);
  fs.writeFileSync(draft, contentOf(seed));
  fs.utimesSync(draft, seed.modified, seed.modified);
  const manifest = manifestOf(seed);
  if (manifest !== null) fs.writeFileSync(path.join(directory, `${seed.name}.manifest.json`), manifest);
  fs.renameSync(draft, path.join(directory, seed.name));
}

/** The content of the file: of the given size, and unique. */
export const contentOf = ({ name, size }: Seed): Buffer => (size === 0 ? Buffer.alloc(0) : Buffer.alloc(size, `${name}\n`));

/** Removes a backup and its manifest. */
export function remove(directory: string, name: string): void {
  fs.rmSync(path.join(directory, name));
  fs.rmSync(path.join(directory, `${name}.manifest.json`), { force: true });
}

/** Removes all backups from `directory`, then adds these. */
export function seed(directory: string, seeds: Seed[]): void {
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith('backup_')) fs.rmSync(path.join(directory, name), { recursive: true });
  }
  for (const each of seeds) lay(directory, each);
}

/** Entries that have (nearly) the name of a backup but must not be listed. */
export function layImpostors(directory: string): void {
  fs.mkdirSync(path.join(directory, 'backup_directory.dump.gz'));
  fs.symlinkSync('/etc/hostname', path.join(directory, 'backup_link.dump.gz'));
  fs.writeFileSync(path.join(directory, 'backup_notes.txt'), 'x');
  fs.writeFileSync(path.join(directory, 'backup_spaced name.dump.gz'), 'x');
}

function manifestOf(seed: Seed): string | null {
  const { name, database, created, size, state } = seed;
  const content = contentOf(seed);
  if (state === 'no manifest' || state === 'empty') return null;
  if (state === 'unreadable manifest') return '{ "manifest_version": 1, ';
  return JSON.stringify({
    manifest_version: 1,
    file: name,
    created_at: created.toISOString(),
    database,
    database_engine: 'sqlite',
    backup_format: 'sqlite-database',
    payload_size: state === 'size differs' ? size + 1 : size,
    payload_sha256: createHash('sha256').update(content).digest('hex'),
    payload_crc32: crc32(content).toString(16).padStart(8, '0'),
    content_size: size,
    content_sha256: '0'.repeat(64),
    created_by: 'end-to-end tests',
  });
}
