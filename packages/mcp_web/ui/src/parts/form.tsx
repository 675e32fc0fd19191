// A form from a JSON Schema, with each error at the field that it is about.
import { useEffect, useId, useRef, useState, type FormEvent, type ReactNode } from "react";
import { Problem } from "../api/http";
import { Failure } from "./basics";
import { contentOf, fieldsOf, type FormField, type Values } from "./fields";
import { visible } from "./values";

interface SchemaFormProps {
  schema: Record<string, unknown>;
  send: string;
  busy: boolean;
  error: unknown;
  onSend: (content: Record<string, unknown>) => void;
  /** Further buttons. */
  children?: ReactNode;
}

export function SchemaForm({ schema, send, busy, error, onSend, children }: SchemaFormProps) {
  const fields = fieldsOf(schema);
  const [values, setValues] = useState<Values>({});
  const [wrong, setWrong] = useState<{ field: string; problem: string } | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const refused = error instanceof Problem ? String(error.details.field ?? "").split(".")[0] : "";
  const mine = fields.some((field) => field.name === refused);
  const shown = wrong ?? (mine && error instanceof Problem ? { field: refused ?? "", problem: error.message } : null);
  useEffect(() => {
    if (shown) form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [shown?.field, shown?.problem]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const filled = contentOf(fields, values);
    if (filled.content) {
      setWrong(null);
      onSend(filled.content);
    } else setWrong({ field: filled.field ?? "", problem: filled.problem ?? "" });
  };
  return (
    <form ref={form} className="schema-form" noValidate onSubmit={submit}>
      {fields.some((field) => field.required) && <p className="small muted">* has to be filled in</p>}
      {fields.map((field) => (
        <SchemaField
          key={field.name}
          field={field}
          value={values[field.name] ?? field.initial}
          problem={shown?.field === field.name ? shown.problem : ""}
          onChange={(value) => setValues({ ...values, [field.name]: value })}
        />
      ))}
      {!mine && <Failure error={error} />}
      <div className="answers">
        <button type="submit" className="primary" disabled={busy}>
          {send}
        </button>
        {children}
      </div>
    </form>
  );
}

interface SchemaFieldProps {
  field: FormField;
  value: string | boolean | string[];
  problem: string;
  onChange: (value: string | boolean | string[]) => void;
}

function SchemaField({ field, value, problem, onChange }: SchemaFieldProps) {
  const id = useId();
  const label = (
    <>
      {visible(field.title)}
      {field.required && <span aria-hidden="true"> *</span>}
    </>
  );
  const said = { "aria-describedby": `${id}-about`, "aria-invalid": problem ? true : undefined, "aria-required": field.required || undefined };
  const below = (
    <div id={`${id}-about`}>
      {field.about && <small className="muted">{visible(field.about)}</small>}
      {problem && <p className="small bad-text">{visible(problem)}</p>}
    </div>
  );
  if (field.kind === "some") {
    const chosen = Array.isArray(value) ? value : [];
    const toggle = (choice: string, on: boolean) => onChange(on ? [...chosen, choice] : chosen.filter((each) => each !== choice));
    return (
      <fieldset className="schema-field" aria-describedby={`${id}-about`}>
        <legend>{label}</legend>
        {field.choices.map((choice, index) => (
          <label key={choice.value} className="check">
            <input
              type="checkbox"
              aria-invalid={problem && index === 0 ? true : undefined}
              checked={chosen.includes(choice.value)}
              onChange={(event) => toggle(choice.value, event.target.checked)}
            />{" "}
            {visible(choice.title)}
          </label>
        ))}
        {below}
      </fieldset>
    );
  }
  if (field.kind === "boolean") {
    return (
      <div className="schema-field">
        <label className="check">
          <input type="checkbox" checked={value === true} onChange={(event) => onChange(event.target.checked)} {...said} aria-required={undefined} /> {label}
        </label>
        {below}
      </div>
    );
  }
  const text = typeof value === "string" ? value : "";
  return (
    <div className="schema-field">
      <label htmlFor={id}>{label}</label>
      {field.kind === "one" ? (
        <select id={id} value={text} onChange={(event) => onChange(event.target.value)} {...said}>
          <option value="">choose…</option>
          {field.choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {visible(choice.title)}
            </option>
          ))}
        </select>
      ) : field.kind === "json" ? (
        <textarea id={id} rows={3} className="mono" spellCheck={false} value={text} onChange={(event) => onChange(event.target.value)} {...said} />
      ) : (
        <input id={id} type={field.type} step={field.step} value={text} onChange={(event) => onChange(event.target.value)} {...said} />
      )}
      {below}
    </div>
  );
}
