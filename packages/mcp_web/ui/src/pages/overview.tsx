import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "wouter";
import { health, status } from "../api/queries";
import { Badge, Failure, Header, type Tone } from "../parts/basics";
import { Journal } from "../parts/journal";
import { Time } from "../parts/time";
import { NewSession } from "./sessions";

const TONES: Record<string, Tone> = { ok: "ok", warning: "warn", error: "bad" };

export function Overview() {
  const node = useQuery(status());
  const measured = useQuery(health());
  const now = node.data;
  return (
    <>
      <Header
        title="Overview"
        sub={
          now && (
            <>
              <span>Umbrella {now.version}</span>
              <span>
                started <Time at={now.started_at} />
              </span>
              <span>process {now.pid}</span>
              <code>{now.data_dir}</code>
            </>
          )
        }
      >
        <NewSession />
      </Header>
      <Failure error={node.error} />
      {now && !now.model.ready && (
        <section className="notice warn" aria-label="Model">
          <p>
            <strong>No language model is set up.</strong> Servers, tools, agents and rights all work; the assistant cannot answer yet.
          </p>
          <p className="remedy">{now.model.hint}</p>
        </section>
      )}
      {now && (
        <ul className="tiles">
          <Tile to="/sessions" label="sessions" value={now.sessions} />
          <Tile to="/agents" label="agents" value={now.agents} />
          <Tile to="/approvals" label="waiting for you" value={now.pending_approvals} loud={now.pending_approvals > 0} />
          <Tile to="/tools" label="MCP servers" value={now.servers} />
          <Tile to="/audit" label="events journaled" value={now.position} />
        </ul>
      )}
      {now && (
        <dl className="facts wide">
          <dt>Model</dt>
          <dd>{now.model.ready ? `${now.model.model || "default"} (${now.model.provider})` : "not set"}</dd>
          <dt>Writer epoch</dt>
          <dd>{now.epoch}</dd>
          <dt>Found interrupted at start</dt>
          <dd>{now.recovered}</dd>
        </dl>
      )}
      <h2>
        Health {measured.data && <Badge tone={TONES[measured.data.status] ?? "plain"}>{measured.data.status}</Badge>}
      </h2>
      <Failure error={measured.error} />
      {measured.data && (
        <table>
          <thead>
            <tr>
              <th scope="col">Check</th>
              <th scope="col">State</th>
              <th scope="col">Measured</th>
            </tr>
          </thead>
          <tbody>
            {measured.data.checks.map((check) => (
              <tr key={check.name}>
                <th scope="row">{check.name}</th>
                <td>
                  <Badge tone={TONES[check.status] ?? "plain"}>{check.status}</Badge>
                </td>
                <td>
                  {check.detail}
                  {check.remedy && <div className="muted small">{check.remedy}</div>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Journal />
    </>
  );
}

function Tile({ to, label, value, loud = false }: { to: string; label: string; value: ReactNode; loud?: boolean }) {
  return (
    <li>
      <Link href={to} className={loud ? "tile loud" : "tile"}>
        <span className="figure">{value}</span>
        <span className="label">{label}</span>
      </Link>
    </li>
  );
}
