/**
 * Of all that is random in the tests: `SEED=123 npx vitest run` does it again. It stands in the names of such tests, so that each
 * failure tells it, also one by timeout.
 */
export const SEED = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
