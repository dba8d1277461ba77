import type { ReactNode } from "react";

interface Props {
  title: string;
  busy?: boolean;
  /** Not a fault, only nothing. */
  calm?: boolean;
  onRetry?: () => void;
  children?: ReactNode;
}

/** What fills a place that has nothing else to show. */
export function Notice({ title, busy = false, calm = busy, onRetry, children }: Props) {
  return (
    <div className="notice" role={calm ? "status" : "alert"} data-busy={busy || undefined}>
      {busy && <span className="spinner" aria-hidden="true" />}
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {onRetry && (
        <button className="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Loading() {
  return <Notice title="Loading the chat…" busy />;
}
