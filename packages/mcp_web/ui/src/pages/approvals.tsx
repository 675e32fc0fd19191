import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "wouter";
import { api, at } from "../api/http";
import { approvals, refusals } from "../api/queries";
import type { Approval, Refusal } from "../api/types";
import { Empty, Failure, Header, Id, More } from "../parts/basics";
import { Time } from "../parts/time";
import { Arguments, visible } from "../parts/values";
import { Permission } from "../transcript/approval";

export function Approvals() {
  const open = useQuery(approvals());
  const items = open.data?.items ?? [];
  return (
    <>
      <Header title="Approvals" sub="What agents wait for you to allow. Unanswered in time means no." />
      <Failure error={open.error} />
      {open.isSuccess && items.length === 0 && (
        <Empty title="Nothing waits for an answer.">
          <p className="muted">
            Questions appear here when an assistant under the profile <em>ask</em> or <em>careful</em> needs a right it does not hold.
          </p>
        </Empty>
      )}
      {items.map((item) => (
        <Waiting key={item.id} approval={item} />
      ))}
      <Refusals />
    </>
  );
}

function Waiting({ approval }: { approval: Approval }) {
  return (
    <article className="card call warn" aria-label={`Question about ${approval.server}/${approval.tool}`}>
      <header>
        <h2 className="tool">
          <span className="muted">{visible(approval.server)}/</span>
          {visible(approval.tool)}
        </h2>
        <Link href={`/sessions/${approval.session_id}`}>session</Link>
        <Link href={`/agents/${approval.principal_id}`}>{approval.principal_id.slice(0, 14)}</Link>
        <Time at={approval.asked_at} />
      </header>
      <Arguments values={approval.arguments} />
      <Permission approval={approval} />
    </article>
  );
}

function Refusals() {
  const known = useInfiniteQuery(refusals());
  const items = known.data?.pages.flatMap((page) => page.items) ?? [];
  if (!items.length) return <Failure error={known.error} />;
  return (
    <section aria-labelledby="never">
      <h2 id="never">Never asked again</h2>
      <p className="muted">You said never to these; the same call with the same arguments is refused to all agents of who is named, whatever they hold, until you let it be asked again.</p>
      <Failure error={known.error} />
      <table className="rows">
        <thead>
          <tr>
            <th scope="col">Tool</th>
            <th scope="col">Whose agents</th>
            <th scope="col">Reason</th>
            <th scope="col">Since</th>
            <th scope="col">Arguments</th>
            <th scope="col">
              <span className="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((item) => (
            <Never key={`${item.principal_id}/${item.fingerprint}`} refusal={item} />
          ))}
        </tbody>
      </table>
      <More shown={known.hasNextPage} loading={known.isFetchingNextPage} onMore={() => void known.fetchNextPage()} />
    </section>
  );
}

function Never({ refusal }: { refusal: Refusal }) {
  const queries = useQueryClient();
  const forget = useMutation({
    mutationFn: () => api<null>(at("refusals", refusal.principal_id, refusal.fingerprint), { method: "DELETE" }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["refusals"] }),
  });
  return (
    <tr>
      <th scope="row" className="tool">
        <span className="muted">{visible(refusal.server)}/</span>
        {visible(refusal.tool)}
        <Failure error={forget.error} />
      </th>
      <td>
        <Id value={refusal.principal_id} />
      </td>
      <td>{visible(refusal.reason)}</td>
      <td>
        <Time at={refusal.since} />
      </td>
      <td title={refusal.fingerprint}>
        <code>{visible(JSON.stringify(refusal.arguments ?? {})).slice(0, 300)}</code>
      </td>
      <td>
        <button type="button" className="small" disabled={forget.isPending} onClick={() => forget.mutate()}>
          Ask again
        </button>
      </td>
    </tr>
  );
}
