// The frame around the pages: who is logged in, where one can go, and whether we are still connected.
import { QueryCache, QueryClient, QueryClientProvider, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useEffect, useState, type ReactNode } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { api, Problem } from "./api/http";
import { LiveProvider, useLink, useLive } from "./api/live";
import type { Login } from "./api/types";
import { approvals, changes, questions } from "./api/queries";
import { Empty, Header } from "./parts/basics";
import { Refusing } from "./parts/journal";
import { AgentPage } from "./pages/agent";
import { Agents } from "./pages/agents";
import { Approvals } from "./pages/approvals";
import { Audit } from "./pages/audit";
import { Keys } from "./pages/keys";
import { LoginPage } from "./pages/login";
import { Overview } from "./pages/overview";
import { Prompts } from "./pages/prompts";
import { Questions } from "./pages/questions";
import { Resources } from "./pages/resources";
import { Runtime } from "./pages/runtime";
import { Servers } from "./pages/servers";
import { SessionPage } from "./pages/session";
import { Sessions } from "./pages/sessions";
import { Tools } from "./pages/tools";

const queries = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      if (error instanceof Problem && error.status === 401) queries.setQueryData(["login"], { login: null });
    },
  }),
  defaultOptions: { queries: { retry: (count, error) => count < 2 && retriable(error), staleTime: 5_000 } },
});

function retriable(error: Error): boolean {
  return error instanceof Problem && (error.status === 0 || error.status >= 500);
}

export function App() {
  return (
    <QueryClientProvider client={queries}>
      <Gate />
    </QueryClientProvider>
  );
}

function Gate() {
  const who = useQuery({ queryKey: ["login"], queryFn: () => api<{ login: Login | null }>("/api/login") });
  if (who.isPending) return <main className="boot" aria-busy="true" />;
  if (!who.data?.login) return <LoginPage failure={who.error} />;
  return (
    <LiveProvider>
      <Shell login={who.data.login} />
    </LiveProvider>
  );
}

const PLACES = [
  ["/", "Overview"],
  ["/sessions", "Sessions"],
  ["/agents", "Agents"],
  ["/approvals", "Approvals"],
  ["/questions", "Questions"],
  ["/servers", "Servers"],
  ["/tools", "Tools"],
  ["/resources", "Resources"],
  ["/prompts", "Prompts"],
  ["/keys", "Keys"],
  ["/audit", "Audit"],
  ["/runtime", "Runtime"],
] as const;

function Shell({ login }: { login: Login }) {
  const [path] = useLocation();
  useEffect(() => {
    const place = PLACES.findLast(([to]) => path === to || (to !== "/" && path.startsWith(to)));
    document.title = place ? `${place[1]} · Umbrella` : "Umbrella";
  }, [path]);
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to content
      </a>
      <Side path={path} login={login} />
      <div className="column">
        <Connection />
        <Refusing />
        <main id="main" tabIndex={-1}>
          <Pages />
        </main>
      </div>
    </div>
  );
}

function Pages(): ReactNode {
  return (
    <Switch>
      <Route path="/" component={Overview} />
      <Route path="/sessions" component={Sessions} />
      <Route path="/sessions/:id">{({ id }) => <SessionPage key={id} id={id} />}</Route>
      <Route path="/agents" component={Agents} />
      <Route path="/agents/:id">{({ id }) => <AgentPage key={id} id={id} />}</Route>
      <Route path="/approvals" component={Approvals} />
      <Route path="/questions" component={Questions} />
      <Route path="/servers" component={Servers} />
      <Route path="/tools" component={Tools} />
      <Route path="/resources" component={Resources} />
      <Route path="/prompts" component={Prompts} />
      <Route path="/keys" component={Keys} />
      <Route path="/audit" component={Audit} />
      <Route path="/runtime" component={Runtime} />
      <Route>
        <Header title="Nothing here" />
        <Empty title="This page does not exist.">
          <p>
            <Link href="/">Go to the overview</Link>
          </p>
        </Empty>
      </Route>
    </Switch>
  );
}

function Side({ path, login }: { path: string; login: Login }) {
  const open = useQuery(approvals());
  const asked = useQuery(questions());
  const changed = useInfiniteQuery(changes());
  const loud: Record<string, [number, string]> = {
    "/approvals": [open.data?.items.length ?? 0, "waiting"],
    "/questions": [asked.data?.items.length ?? 0, "open"],
    "/tools": [changed.data?.pages.flatMap((page) => page.items).filter((item) => item.now).length ?? 0, "changed"],
  };
  const leave = () => void api<null>("/api/logout", { method: "POST" }).finally(() => queries.invalidateQueries({ queryKey: ["login"] }));
  return (
    <nav className="side" aria-label="Pages">
      <Link href="/" className="brand">
        <img src="/icon.svg" alt="" width="22" height="22" /> Umbrella
      </Link>
      <ul>
        {PLACES.map(([to, name]) => {
          const here = to === "/" ? path === "/" : path.startsWith(to);
          const [count, what] = loud[to] ?? [0, ""];
          return (
            <li key={to}>
              <Link href={to} aria-current={here ? "page" : undefined}>
                {name}
                {count > 0 && (
                  <span className="count" aria-label={`${count} ${what}`}>
                    {count}
                  </span>
                )}
              </Link>
            </li>
          );
        })}
      </ul>
      <div className="me">
        <Dot />
        <span className="muted small" title={login.principal_id}>
          {login.principal_id.slice(0, 13)}
        </span>
        <button type="button" className="link" onClick={leave}>
          Log out
        </button>
      </div>
    </nav>
  );
}

function Dot() {
  const link = useLink();
  const name = { open: "connected", connecting: "connecting", lost: "connection lost", refused: "logged out" }[link.kind];
  return <span className={`dot ${link.kind}`} role="img" aria-label={name} title={name} />;
}

/** Shown only once the connection has been away for a moment; a reload's handshake is no news. */
function Connection() {
  const live = useLive();
  const link = useLink();
  const [, tick] = useState(0);
  const [down, setDown] = useState(false);
  useEffect(() => {
    if (link.kind === "open") setDown(false);
    if (link.kind === "lost") setDown(true);
  }, [link.kind]);
  useEffect(() => {
    if (!down) return;
    const timer = window.setInterval(() => tick((count) => count + 1), 1000);
    return () => window.clearInterval(timer);
  }, [down]);
  const seconds = link.kind === "lost" ? Math.max(0, Math.ceil((link.retryAt - Date.now()) / 1000)) : 0;
  return (
    <div role="status" className={down ? "banner" : "banner none"}>
      {down && (
        <>
          <span>
            <strong>Connection lost.</strong> Nothing on the node is affected; what happened meanwhile is shown when it is back.
          </span>
          <span className="muted">{link.kind === "lost" ? `Next try in ${seconds} s` : "Connecting…"}</span>
          <button type="button" onClick={live.retryNow}>
            Try now
          </button>
        </>
      )}
    </div>
  );
}
