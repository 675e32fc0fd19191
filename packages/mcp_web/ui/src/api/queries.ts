// What the pages ask for, under the names that `live` makes stale.
import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, at, withQuery, type Query } from "./http";
import type { AgentRecord, ApiKey, Approval, AuditEntry, Capability, Health, Item, LostMessage, NodeStatus, Page, Prompt, Publication, Question, Refusal, RuntimeStatus, SeenMessage, ServerStatus, Session, StoreReport, ToolChange, ToolInfo } from "./types";

export const status = () => queryOptions({ queryKey: ["status"], queryFn: () => api<NodeStatus>("/api/status") });

export const health = () =>
  queryOptions({
    queryKey: ["health"],
    queryFn: () => api<Health>("/health", { accept: 503 }),
    refetchInterval: 15_000,
  });

/** Asked for again and again: a journal that takes nothing cannot record that it does. */
export const storage = () =>
  queryOptions({
    queryKey: ["storage"],
    queryFn: () => api<StoreReport>("/api/storage"),
    refetchInterval: 5_000,
  });

/** Not from the journal, so nothing tells that it has changed. */
export const runtime = (order: "mail" | "handled" | "restarts" | "name", match: string) =>
  queryOptions({
    queryKey: ["runtime", { order, match }],
    queryFn: () => api<RuntimeStatus>("/api/runtime", { query: { order, match, memory: true } }),
    refetchInterval: 1_000,
    staleTime: 0,
    placeholderData: keepPreviousData,
  });

export const seen = (name: string) =>
  queryOptions({
    queryKey: ["seen", name],
    queryFn: () => api<SeenMessage[]>("/api/runtime/seen", { query: { name } }),
    refetchInterval: 1_000,
    staleTime: 0,
  });

export const lost = (count: number) =>
  queryOptions({
    queryKey: ["lost", count],
    queryFn: () => api<Page<LostMessage>>("/api/runtime/lost", { query: { limit: 1000 } }),
    placeholderData: keepPreviousData,
  });

export const sessions = (ended: boolean) =>
  infiniteQueryOptions({
    queryKey: ["sessions", { ended }],
    queryFn: ({ pageParam }) => api<Page<Session>>("/api/sessions", { query: { ended, cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });

export const session = (id: string) =>
  queryOptions({ queryKey: ["sessions", id], queryFn: () => api<Session>(at("sessions", id)) });

export const agents = (stopped: boolean) =>
  infiniteQueryOptions({
    queryKey: ["agents", { stopped }],
    queryFn: ({ pageParam }) => api<Page<AgentRecord>>("/api/agents", { query: { stopped, cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });

export const agent = (id: string) =>
  queryOptions({ queryKey: ["agents", id], queryFn: () => api<AgentRecord>(at("agents", id)) });

export const capabilities = (principal: string) =>
  queryOptions({
    queryKey: ["capabilities", principal],
    queryFn: () => api<Page<Capability>>("/api/capabilities", { query: { principal, limit: 1000 } }),
  });

export const approvals = () =>
  queryOptions({ queryKey: ["approvals"], queryFn: () => api<Page<Approval>>("/api/approvals", { query: { limit: 200 } }) });

export const questions = () =>
  queryOptions({ queryKey: ["questions"], queryFn: () => api<Page<Question>>("/api/questions", { query: { limit: 200 } }) });

export const resources = (q: string) =>
  infiniteQueryOptions({
    queryKey: ["resources", { q }],
    queryFn: ({ pageParam }) => api<Page<Item>>("/api/resources", { query: { q, cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
    placeholderData: keepPreviousData,
  });

export const prompts = (q: string) =>
  infiniteQueryOptions({
    queryKey: ["prompts", { q }],
    queryFn: ({ pageParam }) => api<Page<Prompt>>("/api/prompts", { query: { q, cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
    placeholderData: keepPreviousData,
  });

export const prompt = (name: string) =>
  queryOptions({ queryKey: ["prompt", name], queryFn: () => api<Prompt>(at("prompts", name)) });

export const promptVersions = (name: string) =>
  queryOptions({ queryKey: ["prompt", name, "versions"], queryFn: () => api<Page<Prompt>>(at("prompts", name, "versions"), { query: { limit: 200 } }) });

export const keys = () =>
  infiniteQueryOptions({
    queryKey: ["keys"],
    queryFn: ({ pageParam }) => api<Page<ApiKey>>("/api/keys", { query: { cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });

export const publications = () =>
  queryOptions({ queryKey: ["publications"], queryFn: () => api<Page<Publication>>("/api/publications", { query: { limit: 1000 } }) });

export const refusals = () =>
  infiniteQueryOptions({
    queryKey: ["refusals"],
    queryFn: ({ pageParam }) => api<Page<Refusal>>("/api/refusals", { query: { cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });

export const servers = () =>
  queryOptions({ queryKey: ["servers"], queryFn: () => api<Page<ServerStatus>>("/api/servers") });

export const tools = () =>
  infiniteQueryOptions({
    queryKey: ["tools"],
    queryFn: ({ pageParam }) => api<Page<ToolInfo>>("/api/tools", { query: { limit: 1000, cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });

export const changes = () =>
  infiniteQueryOptions({
    queryKey: ["changes"],
    queryFn: ({ pageParam }) => api<Page<ToolChange>>("/api/tools/changes", { query: { cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });

export interface AuditFilter {
  principal: string;
  resource_uri: string;
  kind: string;
  denied_only: boolean;
  /** As a person types it, in the time of this machine; empty is no bound. */
  since: string;
  until: string;
}

const asked = ({ since, until, ...rest }: AuditFilter): Query => ({ ...rest, since: instant(since), until: instant(until) });

function instant(local: string): string {
  return local ? new Date(local).toISOString() : "";
}

/** Where the same entries can be downloaded, all of them. */
export const auditExport = (filter: AuditFilter): string => withQuery("/api/audit/export", asked(filter));

export const audit = (filter: AuditFilter) =>
  infiniteQueryOptions({
    queryKey: ["audit", filter],
    queryFn: ({ pageParam }) => api<Page<AuditEntry>>("/api/audit", { query: { ...asked(filter), cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor ?? null,
  });
