// A backup unpacked by the browser's own gzip reader, which accepts exactly one gzip member.
import fs from 'node:fs';
import path from 'node:path';
import { backupNamed } from './support/backups-page';
import { makeBigSqlite } from './support/databases';
import { expect, test } from './support/server';

/** Many blocks of the compressor, 256 KB each. */
const MEGABYTES = 8;

test.use({
  databases: async ({ directory }, use) => {
    makeBigSqlite(path.join(directory, 'heavy.db'), MEGABYTES);
    await use(`heavy=sqlite://${directory}/heavy.db`);
  },
});

test('the browser unpacks a backup as it arrives, and the content matches its manifest', async ({ page, holdfast, backups }) => {
  await backups.open();
  await backups.create.click();
  const name = await backupNamed(backups.status, /backup_heavy_\S+\.dump\.gz/);
  const manifest = JSON.parse(fs.readFileSync(path.join(holdfast.backupDirectory, `${name}.manifest.json`), 'utf8'));

  const found = await page.evaluate(async (address) => {
    const unpack = async (packed: ReadableStream<BufferSource> | null) => {
      if (packed === null) throw new Error('an answer without a body');
      const content = await new Response(packed.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
      const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
      return {
        size: content.byteLength,
        sha256: [...sum].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
        header: new TextDecoder().decode(content.slice(0, 15)),
      };
    };
    const isRefused = (packed: Blob) => unpack(packed.stream()).then(() => false, () => true);
    const content = await unpack((await fetch(address)).body);
    const packed = await (await fetch(address)).blob();
    return {
      content,
      // The controls: this reader notices a missing end and a second member.
      refused: [await isRefused(packed.slice(0, -1)), await isRefused(new Blob([packed, packed]))],
    };
  }, `/backups/${name}`);

  expect(found.content).toEqual({ size: manifest.content_size, sha256: manifest.content_sha256, header: 'SQLite format 3' });
  expect(found.content.size).toBeGreaterThan(MEGABYTES * 900_000);
  expect(found.refused).toEqual([true, true]);
});
