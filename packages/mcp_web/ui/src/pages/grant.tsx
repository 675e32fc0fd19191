// Handing on rights: to an agent that lives, and to one that begins with them.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { useLocation } from "wouter";
import { api } from "../api/http";
import type { AgentRecord, Capability } from "../api/types";
import { Failure, Field } from "../parts/basics";
import { parseObject, type Parsed } from "./tool-input";

function useLimits() {
  const [text, setText] = useState("");
  return { text, setText, parsed: parseObject(text, "Limits") };
}

function LimitsField({ text, parsed, onChange }: { text: string; parsed: Parsed; onChange: (text: string) => void }) {
  const problem = useId();
  return (
    <div className="limits-field">
      <Field label="Further limits (JSON, empty: none)">
        <textarea
          rows={Math.min(10, Math.max(2, text.split("\n").length))}
          className="mono"
          spellCheck={false}
          placeholder={'{"max_bytes": 1000, "rate_limit": {"count": 10, "per_s": 60}}'}
          value={text}
          onChange={(event) => onChange(event.target.value)}
          aria-invalid={!parsed.values}
          aria-describedby={problem}
        />
      </Field>
      <p id={problem} role="status" className="small bad-text">
        {parsed.problem}
      </p>
    </div>
  );
}

const seconds = (hours: string): number | null => (hours ? Number(hours) * 3600 : null);

export function Grant({ record }: { record: AgentRecord }) {
  const queries = useQueryClient();
  const [uri, setUri] = useState("");
  const [hours, setHours] = useState("");
  const [uses, setUses] = useState("");
  const limits = useLimits();
  const grant = useMutation({
    mutationFn: (constraints: Record<string, unknown>) =>
      api<Capability>("/api/capabilities", {
        method: "POST",
        body: {
          agent: record.id,
          resource_uri: uri.trim(),
          expires_in_s: seconds(hours),
          max_uses: uses ? Number(uses) : null,
          constraints,
        },
      }),
    onSuccess: () => {
      setUri("");
      limits.setText("");
      return queries.invalidateQueries({ queryKey: ["capabilities"] });
    },
  });
  return (
    <section aria-labelledby="grant">
      <h2 id="grant">Grant a right</h2>
      <form
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (limits.parsed.values) grant.mutate(limits.parsed.values);
        }}
      >
        <Field label="Resource">
          <input required placeholder="mcp://fs/read/home/me/**" spellCheck={false} value={uri} onChange={(event) => setUri(event.target.value)} />
        </Field>
        <Field label="Hours (empty: no end)">
          <input type="number" min="0" step="any" value={hours} onChange={(event) => setHours(event.target.value)} />
        </Field>
        <Field label="Uses (empty: any)">
          <input type="number" min="1" value={uses} onChange={(event) => setUses(event.target.value)} />
        </Field>
        <LimitsField text={limits.text} parsed={limits.parsed} onChange={limits.setText} />
        <button type="submit" className="primary" disabled={grant.isPending || !uri.trim() || !limits.parsed.values}>
          Grant
        </button>
      </form>
      <Failure error={grant.error} />
    </section>
  );
}

/** All of the rights, or the new agent does not start. */
export function HandOn({ record }: { record: AgentRecord }) {
  const queries = useQueryClient();
  const [, go] = useLocation();
  const [name, setName] = useState("");
  const [uris, setUris] = useState("");
  const [hours, setHours] = useState("");
  const limits = useLimits();
  const wanted = uris.split("\n").map((line) => line.trim()).filter(Boolean);
  const spawn = useMutation({
    mutationFn: (constraints: Record<string, unknown>) =>
      api<AgentRecord>("/api/agents", {
        method: "POST",
        body: {
          name: name.trim(),
          parent: record.id,
          grants: wanted.map((resource_uri) => ({ resource_uri, expires_in_s: seconds(hours), constraints })),
        },
      }),
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ["agents"] });
      go(`/agents/${made.id}`);
    },
  });
  return (
    <section aria-labelledby="hand-on">
      <h2 id="hand-on">Start an agent with rights of this one</h2>
      <form
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (limits.parsed.values) spawn.mutate(limits.parsed.values);
        }}
      >
        <Field label="Name of the new agent (optional)">
          <input value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <Field label="Rights to hand on, one a line">
          <textarea rows={Math.min(10, Math.max(2, uris.split("\n").length))} className="mono" spellCheck={false} value={uris} onChange={(event) => setUris(event.target.value)} />
        </Field>
        <Field label="Hours for the new agent (empty: as here)">
          <input type="number" min="0" step="any" value={hours} onChange={(event) => setHours(event.target.value)} />
        </Field>
        <LimitsField text={limits.text} parsed={limits.parsed} onChange={limits.setText} />
        <button type="submit" disabled={spawn.isPending || !limits.parsed.values}>
          Start
        </button>
      </form>
      <Failure error={spawn.error} />
    </section>
  );
}
