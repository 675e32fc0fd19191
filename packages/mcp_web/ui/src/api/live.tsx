// The tab's one live connection, and what it makes stale.
import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState, useSyncExternalStore, type ReactNode } from "react";
import { Live, type LinkState } from "./socket";
import type { Notice } from "./types";

const LiveContext = createContext<Live | null>(null);

export function LiveProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [live] = useState(() => new Live(() => void queries.invalidateQueries()));
  useEffect(() => {
    const stale = collector(queries);
    const unfollow = live.follow(null, stale.note);
    live.start();
    return () => {
      unfollow();
      live.stop();
      stale.stop();
    };
  }, [live, queries]);
  return <LiveContext value={live}>{children}</LiveContext>;
}

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("useLive needs a LiveProvider");
  return live;
}

export function useLink(): LinkState {
  const live = useLive();
  return useSyncExternalStore(live.watch, live.current);
}

/** Gathers what has become stale and asks for it again a few times a second at most. */
function collector(queries: QueryClient) {
  const stale = new Set<string>();
  let timer: number | undefined;
  const flush = () => {
    timer = undefined;
    for (const name of stale) void queries.invalidateQueries({ queryKey: [name] });
    stale.clear();
  };
  return {
    note: (notice: Notice) => {
      for (const name of touched(notice)) stale.add(name);
      if (stale.size && timer === undefined) timer = window.setTimeout(flush, 400);
    },
    stop: () => window.clearTimeout(timer),
  };
}

const SERVERS = ["servers", "tools", "changes", "status"];

function touched(notice: Notice): string[] {
  if ("passing" in notice) return ["server", "offers"].includes(notice.passing.type) ? [...SERVERS] : [];
  const { stream, event } = notice.record;
  if (event.event === "approval.asked" || event.event === "approval.answered") return ["approvals", "status", "audit"];
  if (event.event === "question.asked" || event.event === "question.answered") return ["questions", "sessions", "status"];
  // A call may be what finds out that its tool has changed.
  if (stream.startsWith("session:")) return ["sessions", "status", ...(event.event === "execution" ? ["audit", "changes"] : [])];
  if (stream.startsWith("agent:")) return ["agents", "status"];
  if (stream === "security") return ["capabilities", "agents", "audit"];
  if (stream === "access") return ["keys", "publications"];
  if (stream.startsWith("catalog:")) return ["resources", "prompts", "prompt"];
  if (stream === "tools") return ["tools", "changes", "refusals", "audit"];
  return SERVERS;
}
