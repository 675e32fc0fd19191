import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { api } from "../api/http";
import { sessions } from "../api/queries";
import type { Session } from "../api/types";
import { Badge, Empty, Failure, Header, Id, More } from "../parts/basics";
import { Time } from "../parts/time";

const FOLDER = "umbrella.folder";

/** Under the profile `careful` the assistant reads files below this folder without asking, and no others. */
export function NewSession() {
  const [, go] = useLocation();
  const [folder, setFolder] = useState(() => window.localStorage.getItem(FOLDER) ?? "");
  const queries = useQueryClient();
  const create = useMutation({
    mutationFn: () => {
      const cwd = folder.trim();
      window.localStorage.setItem(FOLDER, cwd);
      return api<Session>("/api/sessions", { method: "POST", body: { metadata: cwd ? { cwd } : {} } });
    },
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ["sessions"] });
      go(`/sessions/${made.id}`);
    },
  });
  return (
    <form
      className="inline"
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate();
      }}
    >
      <input
        aria-label="Folder on the node's machine that the assistant may read, optional"
        title="Files below this folder may be read without asking"
        placeholder="Folder to work in (optional)"
        spellCheck={false}
        value={folder}
        onChange={(event) => setFolder(event.target.value)}
      />
      <button type="submit" className="primary" disabled={create.isPending}>
        New session
      </button>
      <Failure error={create.error} />
    </form>
  );
}

export function ProfileBadge({ profile }: { profile: string }) {
  return <Badge tone={profile === "open" ? "bad" : profile === "locked" ? "info" : "plain"}>{profile}</Badge>;
}

export function Sessions() {
  const [ended, setEnded] = useState(false);
  const list = useInfiniteQuery(sessions(ended));
  const items = list.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <Header title="Sessions" sub="Conversations, latest activity first. They go on when this tab is closed.">
        <label className="check">
          <input type="checkbox" checked={ended} onChange={(event) => setEnded(event.target.checked)} /> show ended
        </label>
        <NewSession />
      </Header>
      <Failure error={list.error} />
      {list.isSuccess && items.length === 0 && (
        <Empty title="No sessions yet. Begin one here, or in a terminal:" command='umbrella ask "What is in this folder?"' />
      )}
      {items.length > 0 && (
        <table className="rows">
          <thead>
            <tr>
              <th scope="col">Title</th>
              <th scope="col">State</th>
              <th scope="col">Profile</th>
              <th scope="col" className="num">
                Messages
              </th>
              <th scope="col">Last activity</th>
              <th scope="col">Id</th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <tr key={item.id}>
                <th scope="row">
                  <Link href={`/sessions/${item.id}`}>{item.title || "untitled"}</Link>
                </th>
                <td>
                  {item.busy ? <Badge tone="info">working</Badge> : <Badge tone={item.status === "active" ? "ok" : item.status === "suspended" ? "warn" : item.status === "error" ? "bad" : "plain"}>{item.status}</Badge>}
                </td>
                <td>
                  <ProfileBadge profile={item.profile ?? "careful"} />
                </td>
                <td className="num">{item.message_count}</td>
                <td>
                  <Time at={item.updated_at} />
                </td>
                <td>
                  <Id value={item.id} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <More shown={list.hasNextPage} loading={list.isFetchingNextPage} onMore={() => void list.fetchNextPage()} />
    </>
  );
}
