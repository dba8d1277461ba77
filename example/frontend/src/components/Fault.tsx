import { Component, type ReactNode } from "react";
import { Notice } from "./Notice";

interface State {
  fault: Error | null;
}

/** Shows what was thrown in place of the page. */
export class Fault extends Component<{ children: ReactNode }, State> {
  override state: State = { fault: null };

  static getDerivedStateFromError(fault: Error): State {
    return { fault };
  }

  override render(): ReactNode {
    const { fault } = this.state;
    if (!fault) return this.props.children;
    return (
      <Notice title="The chat can't be shown" onRetry={() => window.location.reload()}>
        {fault.message}
      </Notice>
    );
  }
}
