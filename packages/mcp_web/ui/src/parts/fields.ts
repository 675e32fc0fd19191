// A tool's form as fields to fill in, and what is typed as the content of an answer. Pure; the node checks it again.

export interface Choice {
  value: string;
  title: string;
}

export interface FormField {
  name: string;
  kind: "text" | "number" | "boolean" | "one" | "some" | "json";
  title: string;
  about: string;
  required: boolean;
  choices: Choice[];
  /** Of the input: email, url, date, datetime-local, number or text. */
  type: string;
  initial: string | boolean | string[];
  step?: string;
}

export type Values = Record<string, string | boolean | string[]>;
type Schema = Record<string, unknown>;

const TYPES: Record<string, string> = { email: "email", uri: "url", date: "date" };
const HINTS: Record<string, string> = { "date-time": "a moment, as 2026-01-31T18:30:00Z", date: "a date", email: "an e-mail address", uri: "a whole URL" };

export function fieldsOf(schema: Schema): FormField[] {
  const properties = isRecord(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required.map(String) : [];
  return Object.entries(properties).map(([name, part]) => fieldOf(name, isRecord(part) ? part : {}, required.includes(name)));
}

function fieldOf(name: string, part: Schema, required: boolean): FormField {
  const one = choicesOf(part);
  const some = part.type === "array" && isRecord(part.items) ? choicesOf(part.items) : [];
  const kind = one.length ? "one" : some.length ? "some" : kindOf(part.type);
  const rules = [
    typeof part.format === "string" ? (HINTS[part.format] ?? "") : "",
    rule(part, "minimum", "at least"),
    rule(part, "maximum", "at most"),
    rule(part, "minLength", "characters, at least"),
    rule(part, "maxLength", "characters, at most"),
    rule(part, "minItems", "choices, at least"),
    rule(part, "maxItems", "choices, at most"),
    kind === "json" ? "as JSON" : "",
  ];
  const text = [typeof part.description === "string" ? part.description : "", ...rules].filter(Boolean);
  return {
    name,
    kind,
    title: typeof part.title === "string" && part.title ? part.title : name,
    about: text.join(" · "),
    required,
    choices: one.length ? one : some,
    type: kind === "number" ? "number" : (TYPES[String(part.format)] ?? "text"),
    initial: initialOf(kind, part.default),
    ...(kind === "number" ? { step: part.type === "integer" ? "1" : "any" } : {}),
  };
}

function kindOf(type: unknown): FormField["kind"] {
  if (type === "string") return "text";
  if (type === "integer" || type === "number") return "number";
  return type === "boolean" ? "boolean" : "json";
}

function choicesOf(part: Schema): Choice[] {
  if (Array.isArray(part.enum) && part.enum.every((value) => typeof value === "string")) {
    const names = Array.isArray(part.enumNames) && part.enumNames.length === part.enum.length ? part.enumNames : part.enum;
    return part.enum.map((value, index) => ({ value: value as string, title: String(names[index]) }));
  }
  const branches = Array.isArray(part.oneOf) ? part.oneOf : Array.isArray(part.anyOf) ? part.anyOf : [];
  if (!branches.every((branch) => isRecord(branch) && typeof branch.const === "string")) return [];
  return (branches as Schema[]).map((branch) => ({ value: String(branch.const), title: String(branch.title ?? branch.const) }));
}

function initialOf(kind: FormField["kind"], value: unknown): FormField["initial"] {
  if (kind === "boolean") return value === true;
  if (kind === "some") return Array.isArray(value) ? value.map(String) : [];
  if (value === undefined || value === null) return "";
  return kind === "json" ? JSON.stringify(value) : String(value);
}

function rule(part: Schema, key: string, words: string): string {
  return key in part ? `${words} ${String(part[key])}` : "";
}

function isRecord(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export interface Filled {
  content?: Record<string, unknown>;
  /** The first field that cannot be sent, and why. */
  field?: string;
  problem?: string;
}

/** What is left empty is left out; the node fills in defaults. */
export function contentOf(fields: FormField[], values: Values): Filled {
  const content: Record<string, unknown> = {};
  for (const field of fields) {
    const value = values[field.name] ?? field.initial;
    if (typeof value === "boolean") content[field.name] = value;
    else if (Array.isArray(value)) {
      if (field.required || value.length) content[field.name] = value;
    } else if (!value.trim()) {
      if (field.required) return { field: field.name, problem: "It has to be filled in." };
    } else if (field.kind === "number") {
      const number = Number(value);
      if (!Number.isFinite(number)) return { field: field.name, problem: "It is not a number." };
      content[field.name] = number;
    } else if (field.kind === "json") {
      try {
        content[field.name] = JSON.parse(value);
      } catch {
        return { field: field.name, problem: "It is not JSON." };
      }
    } else content[field.name] = value;
  }
  return { content };
}
