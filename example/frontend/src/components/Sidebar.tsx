import type { Profile } from "../generated/chat";
import { csrfToken } from "../request";
import { useSession } from "../session";
import { follow, pathOf, useRoute } from "../useRoute";
import { Avatar } from "./Avatar";
import { Icon } from "./Icon";
import { PageSwitch } from "./PageSwitch";

interface Props {
  profile: Profile;
  onClose: () => void;
}

export function Sidebar({ profile, onClose }: Props) {
  const { page, room } = useRoute();
  const { actions } = useSession();
  return (
    <aside className="sidebar">
      <header className="brand">
        <Icon name="logo" />
        <h1>Team chat</h1>
        <button className="icon-button sidebar-close" onClick={onClose} aria-label="Close the menu">
          <Icon name="close" />
        </button>
      </header>
      <PageSwitch />

      <nav className="places" aria-label="Rooms">
        <h2 className="caption">Rooms</h2>
        <ul className="rooms">
          {profile.rooms.map(({ id, name, topic }) => (
            <li key={id}>
              <a
                href={pathOf({ page, room: name })}
                onClick={follow}
                title={topic}
                aria-current={name === room ? "page" : undefined}
              >
                <span className="hash" aria-hidden="true">
                  #
                </span>
                {name}
              </a>
            </li>
          ))}
        </ul>
        <h2 className="caption">Behind the scenes</h2>
        <ul className="rooms">
          {profile.isStaff && (
            <li>
              <a href="/admin/chat/message/" target="_blank" rel="noreferrer">
                <Icon name="admin" /> Django admin
              </a>
            </li>
          )}
          <li>
            <a href="/graphql/" target="_blank" rel="noreferrer">
              <Icon name="graph" /> GraphiQL
            </a>
          </li>
        </ul>
      </nav>

      <footer className="account">
        <Avatar user={profile} presence />
        <div className="account-name">
          <strong>{profile.name}</strong>
          <button
            className="away"
            aria-pressed={profile.away}
            onClick={() => void actions.setAway({ away: !profile.away })}
          >
            {profile.away ? "Away" : "Available"}
          </button>
        </div>
        <form method="post" action="/logout/">
          <input type="hidden" name="csrfmiddlewaretoken" value={csrfToken()} />
          <button className="icon-button" aria-label="Sign out" title="Sign out">
            <Icon name="leave" />
          </button>
        </form>
      </footer>
    </aside>
  );
}
