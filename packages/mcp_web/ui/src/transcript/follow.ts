// A session as it happens: notices are gathered and drawn once per frame, however fast they come.
import { useEffect, useState } from "react";
import { useLive } from "../api/live";
import type { Notice } from "../api/types";
import { apply, EMPTY, type Transcript } from "./state";

export function useTranscript(sessionId: string): { transcript: Transcript; failure: string } {
  const live = useLive();
  const [transcript, setTranscript] = useState(EMPTY);
  const [failure, setFailure] = useState("");
  useEffect(() => {
    setTranscript(EMPTY);
    setFailure("");
    let waiting: Notice[] = [];
    let timer: number | undefined;
    const draw = () => {
      timer = undefined;
      const notices = waiting;
      waiting = [];
      setTranscript((state) => notices.reduce(apply, state));
    };
    // A timer and not an animation frame: a tab in the background must not gather notices without end.
    const unfollow = live.follow(
      sessionId,
      (notice) => {
        waiting.push(notice);
        timer ??= window.setTimeout(draw, 33);
      },
      setFailure,
    );
    return () => {
      unfollow();
      window.clearTimeout(timer);
    };
  }, [live, sessionId]);
  return { transcript, failure };
}
