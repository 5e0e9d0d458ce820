// The backups page, by the roles and names a reader meets.
import { type Download, expect, type Locator, type Page } from '@playwright/test';

/** The table's columns, in order. */
const columns = ['', 'File name', 'Database', 'Created', 'Modified', 'Size', 'State'] as const;
export type Column = Exclude<(typeof columns)[number], ''>;

/** Goes to an address and, where JavaScript is on, waits until its page is live. */
export async function open(page: Page, live: boolean, address: string): Promise<void> {
  await page.goto(address);
  if (live) await expect(page.locator('html')).toHaveAttribute('data-hydrated');
}

/** The name of the backup that a status tells of, once it says `words`. */
export async function backupNamed(status: Locator, words: string | RegExp, patience?: { timeout: number }): Promise<string> {
  await expect(status).toContainText(words, patience);
  return (await status.textContent())?.match(/backup_\S+?\.dump\.gz/)?.[0] ?? '';
}

export class BackupsPage {
  readonly rows: Locator;
  readonly range: Locator;
  readonly filter: Locator;
  readonly pageSize: Locator;
  readonly previous: Locator;
  readonly next: Locator;
  readonly selectPage: Locator;
  readonly selection: Locator;
  readonly status: Locator;
  readonly alert: Locator;
  readonly create: Locator;
  readonly database: Locator;

  constructor(
    readonly page: Page,
    private readonly live: boolean,
  ) {
    this.rows = page.locator('tbody').getByRole('row');
    this.range = page.getByText(/^(\d+–\d+|0) of \d+$/);
    this.filter = page.getByRole('searchbox', { name: 'Filter' });
    this.pageSize = page.getByRole('combobox', { name: 'Rows' });
    const pagination = page.getByRole('navigation', { name: 'Pagination' });
    this.previous = pagination.getByRole('link', { name: 'Previous' });
    this.next = pagination.getByRole('link', { name: 'Next' });
    this.selectPage = page.getByRole('checkbox', { name: 'Select all on this page' });
    this.selection = page.getByRole('region', { name: 'Selection' });
    this.status = page.getByRole('status');
    this.alert = page.getByRole('alert');
    this.create = page.getByRole('button', { name: 'Create backup', exact: true });
    this.database = page.getByRole('combobox', { name: 'Database' });
  }

  async open(address = '/'): Promise<void> {
    await open(this.page, this.live, address);
    await expect(this.page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  }

  row(name: string): Locator {
    return this.rows.filter({ has: this.page.getByRole('cell', { name, exact: true }) });
  }

  /** A column's cells, from the first row down. */
  cells(column: Column): Locator {
    return this.page.locator(`tbody tr > :nth-child(${columns.indexOf(column) + 1})`);
  }

  header(column: Column): Locator {
    return this.page.getByRole('columnheader', { name: column, exact: true });
  }

  async sortBy(column: Column): Promise<void> {
    await this.header(column).getByRole('link').click();
  }

  async setPageSize(rows: string): Promise<void> {
    await this.pageSize.selectOption(rows);
    if (!this.live) await this.page.getByRole('button', { name: 'Show', exact: true }).click();
  }

  /** Types into the filter; without JavaScript it takes the Enter key, too. */
  async filterBy(text: string): Promise<void> {
    await this.filter.fill(text);
    if (!this.live) await this.filter.press('Enter');
  }

  /** A row's link to its file. */
  download(name: string): Locator {
    return this.page.getByRole('link', { name: `Download ${name}`, exact: true });
  }

  /** What is asked before a deletion: a dialog, or without JavaScript a page. */
  get question(): Locator {
    return this.live ? this.page.getByRole('dialog') : this.page.getByRole('main');
  }

  /** A button on the bar that appears with the first tick. */
  action(name: 'Download zip' | 'Download tar.gz' | 'Delete'): Locator {
    return this.selection.getByRole('button', { name, exact: true });
  }

  /** Presses a button that begins a download, and waits until it is there. */
  async bundle(name: 'Download zip' | 'Download tar.gz'): Promise<Download> {
    const begun = this.page.waitForEvent('download');
    await this.action(name).click();
    return begun;
  }

  tick(name: string): Locator {
    return this.page.getByRole('checkbox', { name: `Select ${name}`, exact: true });
  }

  /** The strip of a backup that waits or runs. */
  strip(database: string): Locator {
    return this.page.getByRole('region', { name: `Backup of ${database}`, exact: true });
  }

  async createBackupOf(database: string): Promise<void> {
    await this.database.selectOption(database);
    await this.create.click();
  }
}
