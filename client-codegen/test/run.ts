import { execFile, type ExecFileException } from "node:child_process";

/** Runs a script with Node in a folder; code -1: it could not be run. */
export function run(
  cwd: string,
  script: string,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...args], { cwd }, (error, stdout, stderr) => {
      const code = (error as ExecFileException | null)?.code;
      resolve({ code: typeof code === "number" ? code : error ? -1 : 0, stdout, stderr });
    });
  });
}
