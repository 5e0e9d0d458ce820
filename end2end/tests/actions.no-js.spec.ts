// Bundles of files that have disappeared, without JavaScript.
import { fiftySeven, remove, seed } from './support/seed';
import { expect, test } from './support/server';

const all = fiftySeven();

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, all));

// The live page deselects missing files: see actions.hydrated.spec.ts.
test('if no selected backup exists any more, there is no archive', async ({ holdfast, page, backups }) => {
  await backups.open('/?sort=-size');
  const [lost] = all.toSorted((a, b) => b.size - a.size);
  await backups.tick(lost.name).check();
  remove(holdfast.backupDirectory, lost.name);
  await backups.action('Download tar.gz').click();
  await expect(backups.alert).toContainText(lost.name);
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('sort') === '-size');
  await expect(backups.range).toHaveText('1–20 of 56');
});
