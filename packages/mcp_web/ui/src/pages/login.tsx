import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../api/http";
import { Failure } from "../parts/basics";

export function LoginPage({ failure }: { failure: Error | null }) {
  const queries = useQueryClient();
  const [code, setCode] = useState("");
  const used = new URLSearchParams(window.location.search).get("login") === "failed";
  const login = useMutation({
    mutationFn: () => api<unknown>("/api/login", { method: "POST", body: { code: codeIn(code) } }),
    onSuccess: () => {
      window.history.replaceState(null, "", "/");
      return queries.invalidateQueries();
    },
  });
  return (
    <main className="login">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          login.mutate();
        }}
      >
        <h1>
          <img src="/icon.svg" alt="" width="28" height="28" /> Umbrella
        </h1>
        {used && !login.error && (
          <div className="notice warn" role="alert">
            <p>This login link was used before, or is too old.</p>
          </div>
        )}
        <p>
          Open the link that <code>umbrella serve</code> printed, or paste it here. Each link works once.
        </p>
        <label className="field">
          <span>Login link or code</span>
          <input value={code} onChange={(event) => setCode(event.target.value)} autoComplete="off" spellCheck={false} required autoFocus />
        </label>
        <button type="submit" className="primary" disabled={login.isPending || !code.trim()}>
          Log in
        </button>
        <Failure error={login.error ?? failure} />
      </form>
    </main>
  );
}

/** People paste the whole link as often as the code in it. */
function codeIn(text: string): string {
  const trimmed = text.trim();
  return /[?&]code=([^&\s]+)/.exec(trimmed)?.[1] ?? trimmed;
}
