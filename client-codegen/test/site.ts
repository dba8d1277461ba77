import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import { WebSocket } from "ws";

const ROOT = path.resolve(import.meta.dirname, "../..");
const PYTHON = process.env["PYTHON"] ?? path.join(ROOT, ".venv/bin/python");

const SETTINGS = `
from project.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework.authtoken"]
ALLOWED_HOSTS = ["127.0.0.1"]
`;

/** Another process of the project: it runs each line that it reads, and answers with what \`out\` is then. */
const HANDS = `
import json, sys
import django
django.setup()
from django.core.management import call_command
from chat.models import *
scope = globals()
for line in sys.stdin:
    out = None
    exec(json.loads(line), scope)
    print(json.dumps(out), flush=True)
`;

/** The example on a database of its own, served by uvicorn, behind a proxy that can be cut. */
export class Site {
  readonly proxy = new Proxy(() => this.port);
  private server: ChildProcess | null = null;
  private port = 0;
  private hands: ChildProcess | null = null;
  private answers: AsyncIterator<string> | null = null;
  private lines: Interface | null = null;

  private constructor(private readonly folder: string) {}

  static async start(): Promise<Site> {
    const site = new Site(await mkdtemp(path.join(tmpdir(), "rxgraphql-client-")));
    try {
      await writeFile(path.join(site.folder, "live_settings.py"), SETTINGS);
      site.hands = site.spawn(["-c", HANDS], "inherit");
      site.lines = createInterface({ input: site.hands.stdout! });
      site.answers = site.lines[Symbol.asyncIterator]();
      await site.run(
        "call_command('migrate', verbosity=0); call_command('seed', stdout=sys.stderr)",
      );
      await site.up();
      await site.proxy.listen();
    } catch (error) {
      await site.stop();
      throw error;
    }
    return site;
  }

  /** Runs Python in a process that has the project's models; gives what it assigns to `out`. */
  async run(code: string): Promise<unknown> {
    this.hands?.stdin?.write(`${JSON.stringify(code)}\n`);
    const answer = await this.answers?.next();
    if (!answer || answer.done) throw new Error(`It failed: ${code}`);
    return JSON.parse(answer.value);
  }

  /** Starts the server; again on the same port after a `down()`. */
  async up(): Promise<void> {
    const command = ["manage.py", "runserver", `127.0.0.1:${this.port}`, "--noreload"];
    this.server = this.spawn(command, "pipe");
    this.port = await listeningPort(this.server);
  }

  /** Ends the server as a deploy would. */
  async down(): Promise<void> {
    const { server } = this;
    this.server = null;
    if (server?.exitCode !== null) return;
    server.kill("SIGINT");
    await once(server, "exit");
  }

  async stop(): Promise<void> {
    await this.down();
    this.hands?.stdin?.end();
    if (this.hands?.exitCode === null) await once(this.hands, "exit");
    await this.proxy.close();
    await rm(this.folder, { recursive: true });
  }

  /** A WebSocket as a page of somebody who is signed in has it, or of nobody; it writes down what it sends. */
  async page(username?: string): Promise<PageSocket> {
    const cookie = username
      ? await this.run(`
from django.test import Client
client = Client()
client.force_login(User.objects.get(username=${JSON.stringify(username)}))
out = client.cookies["sessionid"].value`)
      : "";
    const { origin } = this.proxy;
    const sent: Message[] = [];
    class Page extends WebSocket {
      static readonly sent = sent;

      constructor(url: string, protocols: string) {
        super(url, protocols, { origin, headers: { cookie: `sessionid=${String(cookie)}` } });
      }

      override send(data: string): void {
        sent.push(JSON.parse(data) as Message);
        super.send(data);
      }
    }
    return Page;
  }

  private spawn(command: string[], stderr: "inherit" | "pipe"): ChildProcess {
    const { REDIS_URL: _, ...inherited } = process.env;
    return spawn(PYTHON, command, {
      cwd: path.join(ROOT, "example"),
      stdio: ["pipe", "pipe", stderr],
      env: {
        ...inherited,
        DATABASE_URL: `sqlite:///${this.folder}/chat.sqlite3`,
        DEBUG: "1",
        DJANGO_SETTINGS_MODULE: "live_settings",
        PYTHONPATH: this.folder,
        PYTHONUNBUFFERED: "1",
      },
    });
  }
}

interface Message {
  readonly type: string;
  readonly payload?: { readonly variables?: Record<string, unknown> };
}

export interface PageSocket {
  readonly sent: Message[];
}

/** What stands between the pages and the server. */
class Proxy {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  constructor(port: () => number) {
    this.server = createServer((page) => {
      const site = connect(port(), "127.0.0.1");
      for (const [from, to] of [
        [page, site],
        [site, page],
      ] as const) {
        this.sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.origin}/graphql/`;
  }

  async listen(): Promise<void> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
  }

  /** Drops all connections. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Nothing passes any more through the connections of now, and nobody is told. */
  freeze(): void {
    for (const socket of this.sockets) socket.unpipe();
    for (const socket of this.sockets) socket.pause();
  }

  async close(): Promise<void> {
    this.cut();
    if (this.server.listening) {
      this.server.close();
      await once(this.server, "close");
    }
  }
}

function listeningPort(server: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = "";
    const read = (chunk: Buffer): void => {
      said += chunk.toString();
      const port = /server at http:\/\/127\.0\.0\.1:(\d+)\//.exec(said)?.[1];
      if (port) resolve(Number(port));
    };
    server.stdout?.on("data", read);
    server.stderr?.on("data", read);
    server.once("exit", () => reject(new Error(`The server ended:\n${said}`)));
  });
}
