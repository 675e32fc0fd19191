// The journal: whether it takes writes, what its last opening found, and whether it is whole.
import { useMutation, useQuery } from "@tanstack/react-query";
import { api } from "../api/http";
import { storage } from "../api/queries";
import type { StorageCheck, StoreReport } from "../api/types";
import { Badge, Failure, Json, type Tone } from "./basics";

const STATES: Record<StoreReport["state"], [Tone, string]> = {
  writable: ["ok", "writable"],
  read_only: ["bad", "read-only"],
  closed: ["bad", "closed"],
};
const DISKS: Record<StoreReport["disk"], Tone> = { ok: "ok", warning: "warn", error: "bad" };
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

function size(bytes: number): string {
  const unit = bytes > 0 ? Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10)) : 0;
  return `${(bytes / 2 ** (10 * unit)).toFixed(unit ? 1 : 0)} ${UNITS[unit]}`;
}

/** Above every page while the journal takes nothing; it goes by itself. */
export function Refusing() {
  const report = useQuery(storage()).data;
  if (report === undefined || report.state === "writable") return null;
  return (
    <div role="alert" className="banner">
      <span>
        <strong>The journal takes nothing at the moment.</strong> Reading goes on; what is sent now is refused. {report.reason}
      </span>
    </div>
  );
}

export function Journal() {
  const asked = useQuery(storage());
  const report = asked.data;
  return (
    <section aria-labelledby="journal">
      <h2 id="journal">Journal {report && <Badge tone={STATES[report.state][0]}>{STATES[report.state][1]}</Badge>}</h2>
      <Failure error={asked.error} />
      {report && (
        <dl className="facts wide">
          {report.reason && (
            <>
              <dt>Why</dt>
              <dd>{report.reason}</dd>
            </>
          )}
          {report.damage && (
            <>
              <dt>Damage</dt>
              <dd>
                <Badge tone="bad">damaged</Badge> {report.damage}
              </dd>
            </>
          )}
          <dt>Found at the last start</dt>
          <dd>{report.found || "nothing out of the ordinary"}</dd>
          <dt>Holds</dt>
          <dd>
            {report.head.toLocaleString()} events in {report.streams.toLocaleString()} streams
          </dd>
          <dt>Size</dt>
          <dd>
            {size(report.size_bytes)}
            {report.segments ? ` in ${report.segments} segment${report.segments === 1 ? "" : "s"}` : ""}
            {report.kind === "segments" ? " of an append-only log" : ` (${report.kind})`}
          </dd>
          <dt>Disk in use</dt>
          <dd>
            {Math.round(report.disk_used * 100)} % <Badge tone={DISKS[report.disk]}>{report.disk}</Badge>
          </dd>
        </dl>
      )}
      <Verify />
    </section>
  );
}

function Verify() {
  const check = useMutation({ mutationFn: () => api<StorageCheck>("/api/storage/verify", { method: "POST" }) });
  const outcome = check.data;
  const details = Object.keys(outcome?.details ?? {}).length > 0;
  return (
    <div className="verify">
      {outcome && (
        <div className={`notice tight ${outcome.ok ? "ok" : "bad"}`} role={outcome.ok ? "status" : "alert"}>
          {outcome.ok ? (
            <p>
              <strong>The journal is whole.</strong> {outcome.events.toLocaleString()} events were read back.
            </p>
          ) : (
            <>
              <p>
                <strong>The journal is damaged.</strong> {outcome.problem}
              </p>
              {outcome.remedy && <p className="remedy">{outcome.remedy}</p>}
              {details && <Json value={outcome.details} label="details of the damage" />}
            </>
          )}
        </div>
      )}
      <Failure error={check.error} />
      <button type="button" disabled={check.isPending} onClick={() => check.mutate()}>
        {check.isPending ? "Reading it back…" : "Read the journal back"}
      </button>
    </div>
  );
}
