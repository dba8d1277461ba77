import type { ReactNode } from "react";

interface Props {
  title: string;
  busy?: boolean;
  /** Not a fault, only nothing. */
  calm?: boolean;
  children?: ReactNode;
}

/** What fills a place that has nothing else to show. */
export function Notice({ title, busy = false, calm = busy, children }: Props) {
  return (
    <div className="notice" role={calm ? "status" : "alert"}>
      {busy && <span className="spinner" aria-hidden="true" />}
      <h2>{title}</h2>
      {children}
    </div>
  );
}
