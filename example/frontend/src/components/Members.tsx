import { memo } from "react";
import type { User } from "../generated/chat";
import { Avatar } from "./Avatar";

export function Members({ members }: { members: readonly User[] }) {
  const sorted = [...members].sort(
    (left, right) => Number(left.away) - Number(right.away) || left.name.localeCompare(right.name),
  );
  return (
    <>
      <h2 className="caption">
        Members <span className="count">{members.length}</span>
      </h2>
      <ul>
        {sorted.map((member) => (
          <Member key={member.id} member={member} />
        ))}
      </ul>
    </>
  );
}

const Member = memo(function Member({ member }: { member: User }) {
  return (
    <li data-away={member.away || undefined}>
      <Avatar user={member} presence />
      <div>
        <strong>{member.name}</strong>
        <p>{member.away ? "Away" : member.status || "Available"}</p>
      </div>
    </li>
  );
});
