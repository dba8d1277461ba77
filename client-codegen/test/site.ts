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
# nobody signs in with a password, and the seed makes some
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
`;

const SEED = `
from io import StringIO
call_command("migrate", verbosity=0)
call_command("seed", stdout=StringIO())`;

/** Another process of the project: it runs each line that it reads, and answers with what \`out\` is then. */
const HANDS = `
import json, sys
import django
django.setup()
from django.core.management import call_command
from chat.models import *
from chat.serializers import ChatRoomSerializer
from rest_framework.renderers import JSONRenderer

def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

def as_graphql(value, name=""):
    if isinstance(value, dict):
        return {camel(key): as_graphql(item, key) for key, item in value.items()}
    if isinstance(value, list):
        # without an ordering of their own they are ordered by primary key
        items = value if name == "messages" else sorted(value, key=lambda item: item["id"])
        return [as_graphql(item) for item in items]
    return str(value) if name == "id" else value

def room_as_graphql(name):
    found = ChatRoom.objects.filter(name=name).first()
    return found and as_graphql(json.loads(JSONRenderer().render(ChatRoomSerializer(found).data)))

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

  /** With settings of one's own, and Python modules that they may name. */
  static async start(
    settings = "",
    modules: { readonly [name: string]: string } = {},
  ): Promise<Site> {
    const site = new Site(await mkdtemp(path.join(tmpdir(), "rxgraphql-client-")));
    try {
      await writeFile(path.join(site.folder, "live_settings.py"), SETTINGS + settings);
      for (const [name, code] of Object.entries(modules))
        await writeFile(path.join(site.folder, `${name}.py`), code);
      site.hands = site.spawn(["-c", HANDS], "inherit");
      site.lines = createInterface({ input: site.hands.stdout! });
      site.answers = site.lines[Symbol.asyncIterator]();
      await Promise.all([site.run(SEED), site.up(), site.proxy.listen()]);
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

  /** What the serializer makes of the room now, in GraphQL's names; null if there is none. */
  room(name: string): Promise<unknown> {
    return this.run(`out = room_as_graphql(${JSON.stringify(name)})`);
  }

  /** The token of somebody, and from then on no other of theirs. */
  async token(username: string): Promise<string> {
    return String(
      await this.run(`
from rest_framework.authtoken.models import Token
person = User.objects.get(username=${JSON.stringify(username)})
Token.objects.filter(user=person).delete()
out = Token.objects.create(user=person).key`),
    );
  }

  /** Starts the server; again on the same port after a `down()`. */
  async up(): Promise<void> {
    const command = ["-m", "uvicorn", "project.asgi:application", "--port", String(this.port)];
    this.server = this.spawn(command, "pipe");
    this.port = await listeningPort(this.server);
  }

  /** Ends the server as a process manager does at a deploy. */
  async down(): Promise<void> {
    const { server } = this;
    this.server = null;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    server.kill("SIGTERM");
    await once(server, "exit");
  }

  async stop(): Promise<void> {
    await this.down();
    this.hands?.stdin?.end();
    if (this.hands?.exitCode === null) await once(this.hands, "exit");
    await this.proxy.close();
    await rm(this.folder, { recursive: true });
  }

  /** A WebSocket as a page of somebody who is signed in has it, or of nobody; it writes down what it sends and gets. */
  async page(username?: string, origin = this.proxy.origin): Promise<PageSocket> {
    const cookie = username
      ? await this.run(`
from django.test import Client
client = Client()
client.force_login(User.objects.get(username=${JSON.stringify(username)}))
out = client.cookies["sessionid"].value`)
      : "";
    const sent: Message[] = [];
    const kinds: string[] = [];
    class Page extends WebSocket {
      static readonly sent = sent;
      static readonly kinds = kinds;

      constructor(url: string, protocols: string) {
        super(url, protocols, { origin, headers: { cookie: `sessionid=${String(cookie)}` } });
        this.on("message", (data) => {
          const kind = /"kind":"(SNAPSHOT|CHANGE)"/.exec(String(data))?.[1];
          if (kind) kinds.push(kind);
        });
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
  /** Of the events that came. */
  readonly kinds: string[];
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
      const port = /running on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (port) resolve(Number(port));
    };
    server.stdout?.on("data", read);
    server.stderr?.on("data", read);
    server.once("exit", () => reject(new Error(`The server ended:\n${said}`)));
  });
}
