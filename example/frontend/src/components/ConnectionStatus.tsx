import type { Status } from "@rxgraphql/client";

const TEXT: Record<Status, string> = {
  idle: "Connecting",
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  error: "Error",
  ended: "Ended",
};

export function ConnectionStatus({ status }: { status: Status }) {
  return (
    <span className="connection" data-status={status} role="status">
      <span className="connection-dot" aria-hidden="true" />
      {TEXT[status]}
    </span>
  );
}
