// The limits of a right, in words where there are any, and never less than all of them.
import { Json } from "./basics";
import { visible } from "./values";

const NAMES: Record<string, string> = {
  allowed_extensions: "only files that end in",
  allowed_hosts: "only hosts",
  allowed_methods: "only methods",
  allowed_paths: "only within",
  allowed_statements: "only statements",
  allowed_tables: "only tables",
  allowed_tools: "only tools",
  arguments: "rules for the arguments",
  commands: "only commands",
  delegation_constraints: "whoever it is handed on to",
  denied_paths: "never within",
  operations: "only operations",
};
const SHORT = 80;

export function Limits({ values }: { values: Record<string, unknown> }) {
  const entries = Object.entries(values);
  if (!entries.length) return <>none</>;
  return (
    <ul className="limits">
      {entries.map(([name, value]) => (
        <li key={name} title={visible(name)}>
          <Limit name={name} value={value} />
        </li>
      ))}
    </ul>
  );
}

function Limit({ name, value }: { name: string; value: unknown }) {
  const words = said(name, value);
  if (words) return <>{visible(words)}</>;
  const label = NAMES[name] ?? visible(name);
  const listed = Array.isArray(value) && value.every((item) => typeof item === "string") ? value.join(", ") : "";
  const text = listed || JSON.stringify(value);
  if (text.length <= SHORT) {
    return (
      <>
        <span className="muted">{label}</span> <code>{visible(text)}</code>
      </>
    );
  }
  return (
    <details>
      <summary>{label}</summary>
      <Json value={visible(JSON.stringify(value, null, 2))} label={label} />
    </details>
  );
}

/** A sentence for a limit whose value is of the shape that the sentence is about. */
function said(name: string, value: unknown): string | null {
  if (typeof value === "number") {
    const count = value.toLocaleString();
    switch (name) {
      case "max_uses":
        return value === 1 ? "at most 1 use" : `at most ${count} uses`;
      case "max_bytes":
        return `at most ${count} bytes`;
      case "max_file_size":
        return `files of at most ${count} bytes`;
      case "max_delegation_depth":
        return `handed on at most ${count} times`;
    }
  }
  if (name === "not_before" && typeof value === "string") return `not before ${value}`;
  if (name === "rate_limit") return each(value, ["count", "per_s"], (rate) => `at most ${rate.count} in ${rate.per_s} s`);
  if (name === "time_window") return each(value, ["days", "from", "to", "zone"], (one) => `${one.days} ${one.from} to ${one.to} ${one.zone}`);
  return null;
}

function each(value: unknown, keys: string[], word: (item: Record<string, unknown>) => string): string | null {
  const items = Array.isArray(value) ? (value as unknown[]) : [value];
  const fit = items.every((item) => typeof item === "object" && item !== null && Object.keys(item).sort().join() === keys.join());
  return fit ? items.map((item) => word(item as Record<string, unknown>)).join("; ") : null;
}
