import { initials } from "../format";

interface Props {
  user: { id: string; name: string; away: boolean };
  presence?: boolean;
}

/** Initials on a colour of the user's own, with a dot that says whether they are away. */
export function Avatar({ user, presence = false }: Props) {
  const hue = (Number.parseInt(user.id, 10) * 67 + 230) % 360;
  return (
    <span className="avatar" style={{ "--hue": hue }} aria-hidden="true">
      {initials(user.name)}
      {presence && <span className="presence" data-away={user.away || undefined} />}
    </span>
  );
}
