import { type FormEvent, type KeyboardEvent, useState } from "react";
import { useSession } from "../session";
import { Icon } from "./Icon";

export function Composer({ room }: { room: string }) {
  const { actions } = useSession();
  const [text, setText] = useState("");
  const [sending, setSending] = useState(false);
  const [fault, setFault] = useState<string | null>(null);

  async function send(event: FormEvent | KeyboardEvent): Promise<void> {
    event.preventDefault();
    if (sending || !text.trim()) return;
    setSending(true);
    setFault(null);
    try {
      await actions.sendMessage({ room, text });
      setText("");
    } catch (reason) {
      setFault(`Not sent. ${reason instanceof Error ? reason.message : String(reason)}`);
    } finally {
      setSending(false);
    }
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      void send(event);
    }
  }

  return (
    <form className="composer" onSubmit={(event) => void send(event)}>
      {fault && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
      <div className="composer-box">
        <textarea
          aria-label={`Message to #${room}`}
          placeholder={`Message #${room}`}
          rows={1}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={onKeyDown}
        />
        <button className="send" aria-label="Send" title="Send" disabled={sending || !text.trim()}>
          <Icon name="send" />
        </button>
      </div>
      <p className="composer-hint">
        <kbd>Enter</kbd> sends, <kbd>Shift</kbd> + <kbd>Enter</kbd> makes a new line
      </p>
    </form>
  );
}
