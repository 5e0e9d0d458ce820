// Page objects of the login page and the set-up of the first account.
import { expect, type Locator, type Page } from '@playwright/test';
import { open } from './backups-page';
import type { Holdfast } from './server';

class Door {
  readonly alert: Locator;
  readonly username: Locator;
  readonly password: Locator;

  constructor(
    readonly page: Page,
    private readonly live: boolean,
  ) {
    this.alert = page.getByRole('alert');
    this.username = page.getByLabel('Username', { exact: true });
    this.password = page.getByLabel('Password', { exact: true });
  }

  protected async openAt(address: string): Promise<void> {
    await open(this.page, this.live, address);
  }
}

export class LoginPage extends Door {
  async open(address = '/login'): Promise<void> {
    await this.openAt(address);
    await expect(this.page.getByRole('heading', { name: 'Log in' })).toBeVisible();
  }

  async logIn(username: string, password: string): Promise<void> {
    await this.username.fill(username);
    await this.password.fill(password);
    await this.page.getByRole('button', { name: 'Log in' }).click();
  }
}

export class SetupPage extends Door {
  /** The one-time link in the server's log. */
  static linkIn({ log, url }: Holdfast): string {
    const link = log.match(/http:\S+\/setup\?token=\S+/)?.[0];
    expect(link, `a set-up link in:\n${log}`).toContain(url);
    return link ?? '';
  }

  async open(link: string): Promise<void> {
    await this.openAt(link);
  }

  async createAccount(username: string, password: string, repeat = password): Promise<void> {
    await this.username.fill(username);
    await this.password.fill(password);
    await this.page.getByLabel('Password again').fill(repeat);
    await this.page.getByRole('button', { name: 'Create account' }).click();
  }
}
