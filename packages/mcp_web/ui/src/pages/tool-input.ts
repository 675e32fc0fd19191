// What people type, as what the API takes. Pure.

type Schema = Record<string, unknown>;

/** A first set of arguments: the required ones, with their defaults or an empty value of the right type. */
export function sample(schema: Schema): Record<string, unknown> {
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  const required = (schema.required ?? []) as string[];
  return Object.fromEntries(required.filter((name) => name in properties).map((name) => [name, blank(properties[name] ?? {})]));
}

function blank(schema: Schema): unknown {
  if ("default" in schema) return schema.default;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  switch (schema.type) {
    case "integer":
    case "number":
      return 0;
    case "boolean":
      return false;
    case "array":
      return [];
    case "object":
      return {};
    default:
      return "";
  }
}

export interface Parsed {
  values?: Record<string, unknown>;
  problem?: string;
}

/** What is typed as a JSON object; nothing typed is an empty one. */
export function parseObject(text: string, what: string): Parsed {
  try {
    const value: unknown = JSON.parse(text.trim() || "{}");
    if (typeof value !== "object" || value === null || Array.isArray(value)) return { problem: `${what} are a JSON object: {"name": value}.` };
    return { values: value as Record<string, unknown> };
  } catch (error) {
    return { problem: `${what} are not JSON yet: ${error instanceof Error ? error.message : "it cannot be read"}` };
  }
}

/** A URL, or a command line split at spaces outside quotes. */
export function serverSpec(text: string): { url: string } | { command: string; args: string[] } {
  const trimmed = text.trim();
  if (/^(https?:\/\/|\$\{)/.test(trimmed)) return { url: trimmed };
  const words = (trimmed.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^(["'])(.*)\1$/, "$2"));
  return { command: words[0] ?? "", args: words.slice(1) };
}
