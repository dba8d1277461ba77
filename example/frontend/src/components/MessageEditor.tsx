import { type FormEvent, type KeyboardEvent, useState } from "react";

interface Props {
  text: string;
  onSave: (text: string) => Promise<void>;
  onCancel: () => void;
}

export function MessageEditor({ text, onSave, onCancel }: Props) {
  const [draft, setDraft] = useState(text);
  const [fault, setFault] = useState<string | null>(null);

  async function save(event: FormEvent): Promise<void> {
    event.preventDefault();
    try {
      await onSave(draft);
    } catch (reason) {
      setFault(reason instanceof Error ? reason.message : String(reason));
    }
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key === "Escape") onCancel();
  }

  return (
    <form className="editor" onSubmit={(event) => void save(event)} onKeyDown={onKeyDown}>
      <textarea
        aria-label="Message"
        autoFocus
        rows={2}
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
      />
      {fault && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
      <div className="editor-buttons">
        <button className="button" disabled={!draft.trim()}>
          Save
        </button>
        <button className="button quiet" type="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
