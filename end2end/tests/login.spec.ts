import { expect, nobody, test } from './support/server';
import { LoginPage, SetupPage } from './support/login-pages';

test.use(nobody);

test('a wrong password is refused with an alert', async ({ page, live, holdfast }) => {
  const login = new LoginPage(page, live);
  await login.open();
  await login.logIn(holdfast.adminUser, 'not the password');
  await expect(login.alert).toHaveText('Username or password is wrong.');
  await expect(page).toHaveURL(/\/login/);
  await page.goto('/');
  await expect(page).toHaveURL(/\/login/);
});

test('the correct password logs in, and logging out ends the session', async ({ page, live, holdfast }) => {
  const login = new LoginPage(page, live);
  await login.open();
  await login.logIn(holdfast.adminUser, holdfast.adminPassword);
  await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  await expect(page).toHaveURL('/');

  const cookies = await page.context().cookies();
  expect(cookies.map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite }))).toEqual([{ httpOnly: true, sameSite: 'Strict' }]);

  await page.getByRole('button', { name: 'Log out' }).click();
  await expect(page).toHaveURL(/\/login$/);
  for (const closed of ['/', '/databases', '/activity']) {
    await page.goto(closed);
    await expect(page, `${closed} is closed`).toHaveURL(/\/login/);
  }

  // The session itself has ended, not only its cookie.
  await page.context().addCookies(cookies);
  await page.goto('/');
  await expect(page).toHaveURL(/\/login/);
});

test('after the login, the user gets the page that was first asked for', async ({ page, live, holdfast }) => {
  const wanted = '/?sort=-size&per_page=50&q=a%20b';
  await page.goto(wanted);
  await expect(page).toHaveURL(/\/login\?next=/);
  const login = new LoginPage(page, live);
  await login.logIn(holdfast.adminUser, 'not the password');
  await expect(login.alert).toBeVisible();
  await login.logIn(holdfast.adminUser, holdfast.adminPassword);
  await expect(page).toHaveURL(wanted);
  await expect(page.getByRole('searchbox', { name: 'Filter' })).toHaveValue('a b');
});

test('a login never redirects to another site', async ({ page, live, holdfast }) => {
  const login = new LoginPage(page, live);
  await login.open('/login?next=//example.invalid/');
  await login.logIn(holdfast.adminUser, holdfast.adminPassword);
  await expect(page).toHaveURL('/');
});

test('the link in the log creates the first account, once', async ({ page, live, anotherHoldfast, anotherBrowser }) => {
  const fresh = await anotherHoldfast({ adminPassword: null });
  const link = SetupPage.linkIn(fresh);
  const setup = new SetupPage(page, live);
  await setup.open(link);
  const elsewhere = await anotherBrowser();
  const again = new SetupPage(elsewhere, live);
  await again.open(link);
  await setup.createAccount('keeper', 'a sentence is good', 'another one is not');
  await expect(setup.alert).toContainText('differ');
  await setup.createAccount('keeper', 'a sentence is good');
  await expect(page).toHaveURL(`${fresh.url}/`);
  await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();

  await again.createAccount('intruder', 'a sentence is good');
  await expect(again.alert).toContainText('set-up link was already used');
  await elsewhere.goto(link);
  await expect(again.alert, 'shown before anything is typed').toContainText('set-up link was already used');
  await expect(again.password).toHaveCount(0);

  await elsewhere.getByRole('link', { name: 'Log in' }).click();
  const login = new LoginPage(elsewhere, live);
  await login.logIn('intruder', 'a sentence is good');
  await expect(login.alert).toBeVisible();
  await login.logIn('keeper', 'a sentence is good');
  await expect(elsewhere.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
});
