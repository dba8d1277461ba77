import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const ROOT = path.resolve(import.meta.dirname, "../..");
const PYTHON = process.env["PYTHON"] ?? path.join(ROOT, ".venv/bin/python");

/** Another process of the project: it runs each line that it reads, and says when it has. */
const HANDS = `
import json, sys
import django
django.setup()
from chat.models import *
scope = globals()
for line in sys.stdin:
    exec(json.loads(line), scope)
    print("done", flush=True)
`;

/** The example, served as a reader serves it, on a database and a port of its own. */
export class Site {
  private server: ChildProcess | null = null;
  private port = 0;
  private hands: ChildProcess | null = null;
  private answers: AsyncIterator<string> | null = null;

  private constructor(private readonly folder: string) {}

  static async start(): Promise<Site> {
    const site = new Site(await mkdtemp(path.join(tmpdir(), "rxgraphql-browser-")));
    try {
      await site.manage("migrate", "--verbosity=0");
      await site.manage("seed");
      await site.serve();
    } catch (error) {
      await site.stop();
      throw error;
    }
    return site;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the server; again on the same port after a `down()`. */
  async serve(): Promise<void> {
    const server = spawn(
      PYTHON,
      ["manage.py", "runserver", `127.0.0.1:${this.port}`, "--noreload"],
      {
        cwd: path.join(ROOT, "example"),
        env: this.env(),
      },
    );
    this.server = server;
    this.port = await listeningPort(server);
  }

  async down(): Promise<void> {
    const { server } = this;
    this.server = null;
    if (server?.exitCode === null) {
      server.kill("SIGINT");
      await once(server, "exit");
    }
  }

  async stop(): Promise<void> {
    await this.down();
    if (this.hands?.exitCode === null) {
      this.hands.stdin?.end();
      await once(this.hands, "exit");
    }
    await rm(this.folder, { recursive: true });
  }

  /** Runs a management command in a process of its own. */
  async manage(...args: string[]): Promise<void> {
    await promisify(execFile)(PYTHON, ["manage.py", ...args], {
      cwd: path.join(ROOT, "example"),
      env: this.env(),
    });
  }

  /** Runs Python that has the project's models, in a process that stays for the next time. */
  async run(code: string): Promise<void> {
    if (!this.hands) {
      this.hands = spawn(PYTHON, ["-c", HANDS], {
        cwd: path.join(ROOT, "example"),
        env: { ...this.env(), DJANGO_SETTINGS_MODULE: "project.settings" },
        stdio: ["pipe", "pipe", "inherit"],
      });
      const lines = createInterface({ input: this.hands.stdout! });
      this.answers = lines[Symbol.asyncIterator]();
    }
    this.hands.stdin?.write(`${JSON.stringify(code)}\n`);
    if ((await this.answers?.next())?.done !== false) throw new Error(`It failed: ${code}`);
  }

  private env(): NodeJS.ProcessEnv {
    const { REDIS_URL: _, ...inherited } = process.env;
    return {
      ...inherited,
      DATABASE_URL: `sqlite:///${this.folder}/chat.sqlite3`,
      DEBUG: "1",
      PYTHONUNBUFFERED: "1",
    };
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
