import { useConnection } from "../useLive";

const TEXT = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting" };

export function ConnectionStatus() {
  const connection = useConnection();
  return (
    <span className="connection" data-state={connection} role="status">
      <span className="connection-dot" aria-hidden="true" />
      {TEXT[connection]}
    </span>
  );
}
