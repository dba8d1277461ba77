import { useEffect } from "react";
import { Loading } from "./Notice";

/** Django shows the page to nobody else; Vite's server, which serves it in development, asks nobody. */
export function SignIn() {
  useEffect(() => {
    window.location.assign(`/login/?next=${encodeURIComponent(window.location.pathname)}`);
  }, []);
  return <Loading />;
}
