import type { UserState } from "../documents";
import { Avatar } from "./Avatar";

interface Props {
  members: readonly UserState[];
  open: boolean;
}

export function Members({ members, open }: Props) {
  const sorted = [...members].sort(
    (left, right) => Number(left.away) - Number(right.away) || left.name.localeCompare(right.name),
  );
  return (
    <aside className="members" aria-label="Members" data-open={open || undefined}>
      <h2 className="caption">
        Members <span className="count">{members.length}</span>
      </h2>
      <ul>
        {sorted.map((member) => (
          <li key={member.id} data-away={member.away || undefined}>
            <Avatar user={member} presence />
            <div>
              <strong>{member.name}</strong>
              <p>{member.away ? "Away" : member.status || "Available"}</p>
            </div>
          </li>
        ))}
      </ul>
    </aside>
  );
}
