/** Why a channel can't be shown. */
export class ChannelError extends Error {
  override readonly name = "ChannelError";

  constructor(
    message: string,
    /** An error code of the server ("NOT_FOUND"), or the number with which it closed the socket ("4401"). */
    readonly code: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface Failure {
  readonly error: ChannelError;
  /** Whether to try again. */
  readonly again: boolean;
}

/** Nothing that was seen before may stay on the screen. */
export const REFUSALS = ["NOT_FOUND", "PERMISSION_ERROR", "UNAUTHENTICATED", "4401", "4403"];

/** Refused in the same way whenever one comes back. 4403 is the caller's to judge: the next token may be better. */
const FINAL = [1002, 1003, 1007, 1008, 1009, 1010, 4400, 4401, 4406, 4409, 4429, 4500];
const PASSING = ["UNAVAILABLE", "DATABASE_ERROR"];

/** What `graphql-ws` hands to `error`: the errors of an operation, a close event, an error event, or what was thrown. */
export function failure(reason: unknown): Failure {
  if (Array.isArray(reason)) return ofErrors(reason);
  if (isCloseEvent(reason)) {
    const { code } = reason;
    const message = reason.reason || "The connection was closed.";
    return { error: new ChannelError(message, String(code)), again: !FINAL.includes(code) };
  }
  const message = reason instanceof Error ? reason.message : "The connection failed.";
  return { error: new ChannelError(message, "CONNECTION", { cause: reason }), again: true };
}

/** Of a result's errors. */
export function ofErrors(errors: readonly unknown[] | undefined): Failure {
  const first = errors?.[0] as
    { message?: string; extensions?: { code?: unknown } } | null | undefined;
  const code = String(first?.extensions?.code ?? "INTERNAL");
  const error = new ChannelError(first?.message ?? "The server sent no data.", code);
  return { error, again: PASSING.includes(code) };
}

export function isCloseEvent(value: unknown): value is { code: number; reason: string } {
  return typeof value === "object" && value !== null && "code" in value && "reason" in value;
}
