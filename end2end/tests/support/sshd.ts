// An OpenSSH server for a test, on a loopback port, and a throttled connection to it.
//
// As root, it runs in a mount namespace with one more line in /etc/passwd: an unprivileged account with a password,
// without changes outside the namespace. Otherwise it serves the user who runs the tests, by key.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { freePort } from './server';

/** The account's password: also the canary that must appear nowhere. */
export const PASSWORD = 'c4n:ary sftp p@ss';

/** The account's user id, which no real account has. */
const UID = 54_322;

/** The log line of a server that is ready. */
const LISTENING = 'Server listening on';

const asRoot = process.getuid?.() === 0;

const caged = asRoot && spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

/** A running server. */
export class Sshd {
  /** Whether there is an account with a password. */
  static readonly hasPassword = caged;
  /** Whether there are places where the account may not write. */
  static readonly hasLimits = caged || !asRoot;

  readonly host = '127.0.0.1';
  private listener?: ChildProcess;

  private constructor(
    private readonly home: string,
    readonly port: number,
  ) {}

  static async start(): Promise<Sshd> {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-e2e-sshd-'));
    fs.chmodSync(home, 0o755);
    const server = new Sshd(home, await freePort());
    fs.writeFileSync(server.at('authorized_keys'), '');
    fs.mkdirSync(server.account);
    fs.mkdirSync(server.at('locked'), { mode: 0o555 });
    if (caged) {
      const hash = execFileSync('openssl', ['passwd', '-6', PASSWORD], { encoding: 'utf8' }).trim();
      const passwd = `${fs.readFileSync('/etc/passwd', 'utf8')}${server.user}:x:${UID}:${UID}::${server.account}:/bin/sh\n`;
      const shadow = `${fs.readFileSync('/etc/shadow', 'utf8')}${server.user}:${hash}:19000::::::\n`;
      fs.writeFileSync(server.at('passwd'), passwd);
      fs.writeFileSync(server.at('shadow'), shadow, { mode: 0o600 });
      fs.chownSync(server.account, UID, UID);
    }
    keygen(server.at('host_key'));
    await server.serve();
    return server;
  }

  /** The account's name. */
  get user(): string {
    return caged ? 'holdfast-e2e' : os.userInfo().username;
  }

  /** The account's home directory. */
  get account(): string {
    return this.at('account');
  }

  /** A directory that the account cannot write. */
  get locked(): string {
    return this.at('locked');
  }

  /** The host key's fingerprint, as ssh-keygen prints it. */
  get fingerprint(): string {
    return fingerprintOf(this.at('host_key.pub'));
  }

  /** The host key as a line of known_hosts. */
  get knownHostsLine(): string {
    const [kind, key] = fs.readFileSync(this.at('host_key.pub'), 'utf8').split(' ');
    return `[${this.host}]:${this.port} ${kind} ${key}`;
  }

  /** The server's log. */
  get log(): string {
    return fs.existsSync(this.at('log')) ? fs.readFileSync(this.at('log'), 'utf8') : '';
  }

  /** Number of connections. */
  get visits(): number {
    return this.log.split('Connection from ').length - 1;
  }

  /** Number of login attempts. */
  get attempts(): number {
    return this.log.split('userauth-request for user').length - 1;
  }

  /** Authorizes a key: a line for authorized_keys. */
  authorize(publicLine: string): void {
    fs.appendFileSync(this.at('authorized_keys'), `${publicLine.trim()}\n`);
  }

  /** Makes a key that is not authorized yet. */
  makeKey(name: string, passphrase = ''): Key {
    const file = this.at(name);
    keygen(file, passphrase);
    return { private: fs.readFileSync(file, 'utf8'), public: fs.readFileSync(`${file}.pub`, 'utf8').trim() };
  }

  /** Shows another host key from now on. */
  async changeHostKey(): Promise<void> {
    await this.stop();
    for (const name of ['host_key', 'host_key.pub']) fs.rmSync(this.at(name));
    keygen(this.at('host_key'));
    await this.serve();
  }

  async serve(): Promise<void> {
    const config = [
      `HostKey ${this.at('host_key')}`,
      `ListenAddress ${this.host}`,
      `Port ${this.port}`,
      `AuthorizedKeysFile ${this.at('authorized_keys')}`,
      `Subsystem sftp internal-sftp -d ${this.account}`,
      'PidFile none',
      'UsePAM no',
      'StrictModes no',
      'PermitRootLogin yes',
      'MaxStartups 100',
      // Failed logins of one test must not block the next.
      ...(hasPenalties() ? ['PerSourcePenalties no'] : []),
      'LogLevel DEBUG1',
    ];
    fs.writeFileSync(this.at('config'), `${config.join('\n')}\n`);
    const serve = `exec /usr/sbin/sshd -D -f ${this.at('config')} -E ${this.at('log')}`;
    const cage = [
      `mount --bind ${this.at('passwd')} /etc/passwd`,
      `mount --bind ${this.at('shadow')} /etc/shadow`,
      'mount -t tmpfs none /run',
      'mkdir -m 755 /run/sshd',
      serve,
    ].join(' && ');
    const command = caged
      ? ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', cage]
      : // A server of root's asks for this directory; one of anybody else's does without.
        ['sh', '-c', `mkdir -p -m 755 /run/sshd 2>/dev/null; ${serve}`];
    const before = this.log.split(LISTENING).length;
    const listener = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], { stdio: 'ignore' });
    this.listener = listener;
    // Wait for its log line; a test connection would appear in the log.
    const deadline = Date.now() + 10_000;
    while (this.log.split(LISTENING).length === before) {
      if (listener.exitCode !== null || Date.now() > deadline) throw new Error(`no SSH server:\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Stops the server and the processes of its connections. */
  async stop(): Promise<void> {
    const { listener } = this;
    this.listener = undefined;
    if (listener?.pid === undefined || listener.exitCode !== null || listener.signalCode !== null) return;
    const gone = once(listener, 'exit');
    for (const pid of [...descendants(listener.pid), listener.pid]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has already ended.
      }
    }
    await gone;
  }

  async end(): Promise<void> {
    await this.stop();
    fs.rmSync(this.home, { recursive: true, force: true });
  }

  private at(name: string): string {
    return path.join(this.home, name);
  }
}

/** A key pair as text. */
export interface Key {
  private: string;
  public: string;
}

/** A proxy to a port that can be throttled. */
export class Road {
  private sockets = new Set<Socket>();
  private rate = Infinity;

  private constructor(
    readonly port: number,
    private readonly server: Server,
  ) {}

  static async to(target: number): Promise<Road> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const road = new Road(address.port, server);
    server.on('connection', (from) => {
      const on = connect(target, '127.0.0.1');
      road.carry(from, on);
      road.carry(on, from);
    });
    return road;
  }

  /** Limits each direction of each connection to `rate` bytes per second from now on. */
  narrow(rate: number): void {
    this.rate = rate;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private carry(from: Socket, to: Socket): void {
    this.sockets.add(from);
    from.on('data', (bytes) => {
      to.write(bytes);
      if (this.rate === Infinity) return;
      from.pause();
      setTimeout(() => from.resume(), (bytes.length / this.rate) * 1000);
    });
    from.on('error', () => to.destroy());
    from.on('end', () => to.end());
    from.on('close', () => {
      this.sockets.delete(from);
      to.destroy();
    });
  }
}

/** Makes an Ed25519 key with ssh-keygen. */
function keygen(file: string, passphrase = ''): void {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', 'test', '-f', file]);
}

function fingerprintOf(publicKey: string): string {
  return execFileSync('ssh-keygen', ['-lf', publicKey], { encoding: 'utf8' }).split(' ')[1];
}

/** Whether this OpenSSH has PerSourcePenalties, which came with 9.8. */
function hasPenalties(): boolean {
  const version = spawnSync('ssh', ['-V'], { encoding: 'utf8' }).stderr.match(/OpenSSH_(\d+)\.(\d+)/);
  return version !== null && Number(version[1]) * 100 + Number(version[2]) >= 908;
}

/** All descendants of a process. */
function descendants(pid: number): number[] {
  const parents = fs.readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      // `pid (name) state parent …`, and the name may hold anything.
      const stat = fs.readFileSync(`/proc/${entry}/stat`, 'utf8');
      return [[Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 1).split(' ')[2])]];
    } catch {
      return [];
    }
  });
  const of = (parent: number): number[] =>
    parents.filter(([, above]) => above === parent).flatMap(([child]) => [child, ...of(child)]);
  return of(pid);
}
