import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../api/http";
import { audit, auditExport, type AuditFilter } from "../api/queries";
import type { AuditEntry, AuditReport } from "../api/types";
import { Badge, Empty, Failure, Field, Header, Id, More, type Tone } from "../parts/basics";
import { column, number, Table } from "../parts/table";
import { Time } from "../parts/time";

const TONES: Record<string, Tone> = { allowed: "ok", denied: "bad", granted: "info", revoked: "warn", noted: "plain" };
const ANY: AuditFilter = { principal: "", resource_uri: "", kind: "", denied_only: false, since: "", until: "" };
const COLUMNS = [number("#"), column("Time"), column("Decision"), column("Kind"), column("Principal"), column("Resource"), column("Reason")];
const KINDS = [
  "access_allowed",
  "access_denied",
  "capability_granted",
  "capability_delegated",
  "capability_denied",
  "capability_revoked",
  "revocation_denied",
  "tool_pinned",
  "tool_changed",
  "tool_accepted",
];

export function Audit() {
  const [draft, setDraft] = useState(ANY);
  const [filter, setFilter] = useState(ANY);
  const trail = useInfiniteQuery(audit(filter));
  const items = trail.data?.pages.flatMap((page) => page.items) ?? [];
  const change = (part: Partial<AuditFilter>) => setDraft({ ...draft, ...part });
  const now = (part: Partial<AuditFilter>) => {
    change(part);
    setFilter({ ...draft, ...part });
  };
  return (
    <>
      <Header title="Audit" sub="Every decision about rights, chained by hash, newest first. Nothing can be edited or removed.">
        <Verify />
      </Header>
      <form
        className="row-form filters"
        onSubmit={(event) => {
          event.preventDefault();
          setFilter(draft);
        }}
      >
        <Field label="Principal">
          <input placeholder="agent_… or user_…" spellCheck={false} value={draft.principal} onChange={(event) => change({ principal: event.target.value.trim() })} />
        </Field>
        <Field label="Resource (glob)">
          <input placeholder="mcp://fs/*" spellCheck={false} value={draft.resource_uri} onChange={(event) => change({ resource_uri: event.target.value.trim() })} />
        </Field>
        <Field label="Kind">
          <select value={draft.kind} onChange={(event) => now({ kind: event.target.value })}>
            <option value="">any</option>
            {KINDS.map((kind) => (
              <option key={kind}>{kind}</option>
            ))}
          </select>
        </Field>
        <Field label="From">
          <input type="datetime-local" value={draft.since} onChange={(event) => change({ since: event.target.value })} />
        </Field>
        <Field label="Before">
          <input type="datetime-local" value={draft.until} onChange={(event) => change({ until: event.target.value })} />
        </Field>
        <label className="check">
          <input type="checkbox" checked={draft.denied_only} onChange={(event) => now({ denied_only: event.target.checked })} /> denied only
        </label>
        <button type="submit">Filter</button>
        <button type="button" onClick={() => now(ANY)}>
          Clear
        </button>
        <a href={auditExport(filter)} download>
          Export as JSON lines
        </a>
      </form>
      <Failure error={trail.error} />
      {trail.isSuccess && items.length === 0 && <Empty title="No entries match." command="umbrella audit show" />}
      {items.length > 0 && (
        <Table columns={COLUMNS}>
            {items.map((entry) => (
              <Entry key={entry.seq} entry={entry} />
            ))}
        </Table>
      )}
      <More shown={trail.hasNextPage} loading={trail.isFetchingNextPage} onMore={() => void trail.fetchNextPage()} />
    </>
  );
}

function Entry({ entry }: { entry: AuditEntry }) {
  const decision = entry.decision ?? "noted";
  return (
    <tr className={decision === "denied" ? "denied" : undefined}>
      <td className="num">{entry.seq}</td>
      <td>
        <Time at={entry.time} />
      </td>
      <td>
        <Badge tone={TONES[decision] ?? "plain"}>{decision}</Badge>
      </td>
      <td>{entry.kind}</td>
      <td>
        <Id value={entry.principal_id} />
      </td>
      <td className="uri">{entry.resource_uri && <code>{entry.resource_uri}</code>}</td>
      <td>{entry.reason}</td>
    </tr>
  );
}

function Verify() {
  const check = useMutation({ mutationFn: () => api<AuditReport>("/api/audit/verify") });
  const report = check.data;
  return (
    <div className="verify">
      {report && (
        <div className={`notice tight ${report.ok ? "ok" : "bad"}`} role={report.ok ? "status" : "alert"}>
          {report.ok ? (
            <p title={report.head}>
              <strong>Chain intact.</strong> {report.entries.toLocaleString()} entries, {report.sealed.toLocaleString()} of them under a signed seal, head{" "}
              <code>{report.head.slice(0, 12)}…</code>
            </p>
          ) : (
            <p>
              <strong>Chain broken.</strong> {report.problem}
            </p>
          )}
        </div>
      )}
      <Failure error={check.error} />
      <button type="button" className="primary" disabled={check.isPending} onClick={() => check.mutate()}>
        {check.isPending ? "Verifying…" : "Verify on the server"}
      </button>
    </div>
  );
}
