import { lazy, Suspense } from "react";
import { Fault } from "./components/Fault";
import { Loading } from "./components/Notice";
import { useRoute } from "./useRoute";

/** Each is loaded when it is shown: who reads with the hook doesn't load Apollo. */
const pages = {
  hook: lazy(() => import("./pages/hook")),
  apollo: lazy(() => import("./pages/apollo")),
  urql: lazy(() => import("./pages/urql")),
};

export function App() {
  const { page } = useRoute();
  const Page = pages[page];
  return (
    <Fault key={page}>
      <Suspense fallback={<Loading />}>
        <Page />
      </Suspense>
    </Fault>
  );
}
