import { follow, type PageName, PAGES, pathOf, useRoute } from "../useRoute";

/** The same room, read with another client. */
export function PageSwitch() {
  const { page, room } = useRoute();
  return (
    <nav className="pages" aria-label="Client">
      <ul>
        {(Object.keys(PAGES) as PageName[]).map((name) => (
          <li key={name}>
            <a
              href={pathOf({ page: name, room })}
              onClick={follow}
              aria-current={name === page ? "page" : undefined}
            >
              {PAGES[name]}
            </a>
          </li>
        ))}
      </ul>
      <p>
        Read <code>src/pages/{page}.tsx</code>
      </p>
    </nav>
  );
}
