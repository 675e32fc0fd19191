// One way to the REST API: JSON in, JSON out, problems as errors.

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly remedy: string,
    readonly requestId: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

interface Options {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Query;
  /** A status that is an answer nevertheless. */
  accept?: number;
}

/** A path with what is asked of it; what is empty or false is left out. */
export function withQuery(path: string, query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "" && value !== false) search.set(name, String(value));
  }
  return search.size ? `${path}?${search}` : path;
}

export async function api<T>(path: string, options: Options = {}): Promise<T> {
  const { method = "GET", body, query = {}, accept } = options;
  const headers: Record<string, string> = { accept: "application/json", "x-umbrella": "1" };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(withQuery(path, query), {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "node_unavailable", "The server does not answer.", "Is `umbrella serve` still running?", "");
  }
  const text = await response.text();
  const value: unknown = text ? JSON.parse(text) : null;
  if (response.ok || response.status === accept) return value as T;
  const told = (value ?? {}) as { code?: string; message?: string; remedy?: string; request_id?: string; details?: Record<string, unknown> };
  throw new Problem(
    response.status,
    told.code ?? "internal",
    told.message ?? `The server answered ${response.status}.`,
    told.remedy ?? "",
    told.request_id ?? "",
    told.details ?? {},
  );
}

/** Path segments from outside are always encoded. */
export const at = (...parts: string[]): string => `/api/${parts.map(encodeURIComponent).join("/")}`;
